//! Another process in the place of this one, with the same listening sockets: nobody who connects notices.

pub mod inherited;
