//! Which rule a request falls under. Pure: compiled once per configuration, then only read.
//!
//! The one total order, from strongest to weakest; the first route in it that matches wins:
//!
//! 1. host: an exact host, then wildcard hosts by length of their fixed part (longest first), then any host;
//! 2. path: an exact path, then prefixes by length (longest first);
//! 3. routes that name methods before routes that do not;
//! 4. routes that want more headers before routes that want fewer;
//! 5. the order in the configuration; the gateway's own routes (`/v2/`, `/health`, ...) come after all of it.
//!
//! The gateway's own routes are routes like any other (any host), so a configured catch-all `/` does not hide them and
//! a route for a host of its own does.

pub mod path;
pub mod host;
pub mod legacy_name;
pub mod spec;
pub mod order;
pub mod index;
pub mod explain;

pub use index::Routes;
pub use spec::{Action, EditList, Edits, FixedAnswer, OwnAnswer, RequestView, Route, edit_list};
