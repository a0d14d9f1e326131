//! Answers that are no success: always an [`ApiError`] with what to do.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use nodemedic_coordinator_core::Refused;
use nodemedic_edge::works::CHOICE;
use nodemedic_protocol::api::ApiError;

use crate::engine::Unanswered;

/// A status and a sentence.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    error: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Failure {
        Failure {
            status,
            error: error.into(),
        }
    }

    pub(super) fn bad(error: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(ApiError { error: self.error })).into_response()
    }
}

impl From<Unanswered> for Failure {
    fn from(why: Unanswered) -> Failure {
        let status = match why {
            Unanswered::Busy | Unanswered::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Unanswered::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failure::new(status, why.to_string())
    }
}

impl From<Refused> for Failure {
    fn from(why: Refused) -> Failure {
        let status =
            StatusCode::from_u16(why.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Failure::new(status, why.to_string())
    }
}

impl From<JsonRejection> for Failure {
    fn from(why: JsonRejection) -> Failure {
        Failure::new(why.status(), bad_body(&why.body_text()))
    }
}

/// A choice that must be made is explained where it is missing; the rest is in the reference.
fn bad_body(what: &str) -> String {
    // As serde says that the field is missing, or what its values are.
    if what.contains("`on_lease_loss`") || what.contains("expected `stop` or `keep`") {
        return format!("{what}; {CHOICE}");
    }
    format!("{what}; docs/reference/api.md has the shape")
}

impl From<QueryRejection> for Failure {
    fn from(why: QueryRejection) -> Failure {
        Failure::bad(why.body_text())
    }
}

impl From<PathRejection> for Failure {
    fn from(why: PathRejection) -> Failure {
        Failure::bad(why.body_text())
    }
}

pub(super) async fn no_such_path(uri: Uri) -> Failure {
    let error = format!(
        "there is no {} here; docs/reference/api.md lists all paths",
        uri.path()
    );
    Failure::new(StatusCode::NOT_FOUND, error)
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Failure {
    let error = format!(
        "{} does not take {method}; docs/reference/api.md lists what it takes",
        uri.path()
    );
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::api::PutWork;

    #[test]
    fn exclusive_work_without_its_choice_is_told_both_over_the_api_too() {
        for sharing in [
            r#"{"exclusive":{}}"#,
            r#"{"exclusive":{"on_lease_loss":"pause"}}"#,
        ] {
            let run = r#"{"systemd":{"unit":"db@.service"}}"#;
            let body = format!(r#"{{"works":[{{"name":"db","sharing":{sharing},"run":{run}}}]}}"#);
            let error = serde_json::from_str::<PutWork>(&body)
                .unwrap_err()
                .to_string();
            let said = bad_body(&error);
            assert!(said.contains("\"stop\" }  the node stops it"), "{said}");
            assert!(said.contains("\"keep\" }  it is never stopped"), "{said}");
        }
        let error = serde_json::from_str::<PutWork>("{}")
            .unwrap_err()
            .to_string();
        assert!(bad_body(&error).ends_with("docs/reference/api.md has the shape"));
    }
}
