//! A request before the policies of its route.

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::body::Story;
use super::error::GatewayError;
use crate::policy::{self, Admission, Asking, RoutePolicies, Stop};

/// Whether the request goes on; `Some`: it is answered. What the answer is to say stays in `story`.
pub async fn admit(
    story: &mut Story,
    policies: &RoutePolicies,
    host: &str,
    parts: &mut Parts,
) -> Result<Option<Response<Bytes>>, GatewayError> {
    let mut admission = Box::<Admission>::default();
    let mut asking = Asking { parts, host };
    let admitted = policy::admit(policies, &mut asking, &mut admission).await;
    story.note(|notes| notes.who = admission.who.clone());
    story.admission = Some(admission);
    match admitted {
        Ok(()) => Ok(None),
        Err(Stop::Answered(response)) => Ok(Some(response)),
        Err(Stop::Refused(refusal)) => Err(GatewayError::Refused(refusal)),
    }
}
