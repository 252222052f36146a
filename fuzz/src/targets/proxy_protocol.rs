//! What a load balancer says about a client, before the client's first byte.

use futures_util::FutureExt as _;
use vertice_gateway::listener::proxy_protocol::read;

use super::told;
use crate::Target;

/// The longest header that may be taken: version 2 with all that comes with it.
const LONGEST: usize = 16 + 4096;

pub(super) const HEADER: Target = Target {
    name: "proxy_protocol",
    what: "headers of the PROXY protocol: bounded, and not a byte of the request is taken",
    feed: header,
    words: &[
        "PROXY ",
        "TCP4 ",
        "TCP6 ",
        "UNKNOWN",
        "\r\n",
        "\r\n\r\n\0\r\nQUIT\n",
        "192.0.2.1 ",
        "::1 ",
        "65535",
        "65536",
    ],
};

fn header(input: &[u8]) -> String {
    let mut left = input;
    let Some(outcome) = read(&mut left).now_or_never() else { panic!("it waits although all is there") };
    let taken = input.len() - left.len();
    assert!(taken <= LONGEST, "{taken} bytes taken");
    if let Ok(client) = &outcome {
        // What follows changes nothing and stays for HTTP.
        let more = [&input[..taken], b"GET / HTTP/1.1\r\n".as_slice()].concat();
        let mut left = more.as_slice();
        let again = read(&mut left).now_or_never().and_then(Result::ok);
        assert_eq!(again.as_ref(), Some(client));
        assert_eq!(left, b"GET / HTTP/1.1\r\n");
    }
    told("header", &outcome)
}
