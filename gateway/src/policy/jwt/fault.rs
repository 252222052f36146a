//! What is wrong with a token.

/// What is wrong with a token. Its words go into a quoted string: no quotes, no backslashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// There are several `Authorization`.
    Several,
    /// Larger than any token is.
    TooLarge,
    /// Not three parts of base64url, or not JSON inside.
    Malformed,
    /// It wants to be understood by who knows more than we do (RFC 7515 4.1.11).
    Critical,
    /// Signed with something that the configuration does not name.
    Algorithm,
    /// Signed with a key that the issuer does not publish.
    UnknownKey,
    /// The signature is not that of the issuer.
    Signature,
    /// No `exp`, or no number.
    NoExpiry,
    /// Past `exp`.
    Expired,
    /// Before `nbf`, or made in the future.
    NotYet,
    /// Another `iss`.
    Issuer,
    /// Another `aud`.
    Audience,
    /// A refresh token.
    Refresh,
}

impl TokenFault {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Several,
        Self::TooLarge,
        Self::Malformed,
        Self::Critical,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::NoExpiry,
        Self::Expired,
        Self::NotYet,
        Self::Issuer,
        Self::Audience,
        Self::Refresh,
    ];

    /// The stable word.
    pub fn reason(self) -> &'static str {
        if self == Self::Expired { "token_expired" } else { "token_invalid" }
    }

    /// For people.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Several => "there are several Authorization headers",
            Self::TooLarge => "the token is too large",
            Self::Malformed => "the token is malformed",
            Self::Critical => "the token has critical extensions that are not known here",
            Self::Algorithm => "the token is not signed with an algorithm that is accepted here",
            Self::UnknownKey => "the token is signed with a key that is not known here",
            Self::Signature => "the signature of the token is wrong",
            Self::NoExpiry => "the token has no usable exp",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::Issuer => "the token is from another issuer",
            Self::Audience => "the token is for another audience",
            Self::Refresh => "a refresh token is no access token",
        }
    }
}
