//! Compression: h2spec's "hpack", by sections of RFC 7541.

use crate::h2::frame::{COMPRESSION_ERROR, WHOLE};
use crate::h2::table::Block::{GetAndBytes, TableTooLarge};
use crate::h2::table::{Case, Step, case, fatal, headers};

const BAD: Step = fatal(&[COMPRESSION_ERROR]);

pub(super) const CASES: &[Case] = &[
    case(
        "hpack/2.3.3/1",
        "RFC 7541 2.3.3",
        "an index beyond both tables",
        &[headers(1, WHOLE, GetAndBytes(&[0xc6])), BAD],
    ),
    case(
        "hpack/2.3.3/2",
        "RFC 7541 2.3.3",
        "a literal whose name is beyond both tables",
        &[headers(1, WHOLE, GetAndBytes(b"\x7f\x07\x05empty")), BAD],
    ),
    case(
        "hpack/4.2/1",
        "RFC 7541 4.2",
        "a table size update at the end of a block",
        &[headers(1, WHOLE, GetAndBytes(&[0x21])), BAD],
    ),
    case(
        "hpack/5.2/1",
        "RFC 7541 5.2",
        "Huffman padding longer than 7 bits",
        &[headers(1, WHOLE, GetAndBytes(b"\x00\x06x-test\x82\x1f\xff")), BAD],
    ),
    case(
        "hpack/5.2/2",
        "RFC 7541 5.2",
        "Huffman padding of zeros",
        &[headers(1, WHOLE, GetAndBytes(b"\x00\x06x-test\x81\x18")), BAD],
    ),
    case(
        "hpack/5.2/3",
        "RFC 7541 5.2",
        "the EOS symbol in a Huffman string",
        &[headers(1, WHOLE, GetAndBytes(b"\x00\x06x-test\x84\xff\xff\xff\xff")), BAD],
    ),
    case("hpack/6.1/1", "RFC 7541 6.1", "index 0", &[headers(1, WHOLE, GetAndBytes(&[0x80])), BAD]),
    case(
        "hpack/6.3/1",
        "RFC 7541 6.3",
        "a table size beyond the limit",
        &[headers(1, WHOLE, TableTooLarge), BAD],
    ),
];
