//! Answers of the local socket.

use nodemedic_agent_core::Input;
use nodemedic_edge::clock;
use nodemedic_protocol::local::{LocalRequest, LocalResponse};

use super::{EVENTS_LAST_MAX, Life};
use crate::asking;
use crate::socket::Asked;

impl Life {
    pub(super) fn answer(&mut self, asked: Asked) {
        let now = clock::now();
        let response = match asked.request {
            LocalRequest::Status => LocalResponse::Status(Box::new(self.agent.status(now))),
            LocalRequest::Events { last } => {
                LocalResponse::Events(self.agent.events(last.min(EVENTS_LAST_MAX)))
            }
            LocalRequest::Unfence { service } => match self.agent.may_unfence(&service) {
                Ok(()) => {
                    self.agent.handle(now, Input::Unfence { service });
                    LocalResponse::Done
                }
                Err(error) => LocalResponse::Error(error),
            },
            LocalRequest::Diagnose(request) => {
                return asking::diagnose(&self.driver.units, request, asked.answer);
            }
            LocalRequest::Inject(request) => {
                let allowed = &self.settings.inject;
                let units = &self.driver.units;
                return asking::inject(units, &self.injector, allowed, request, asked.answer);
            }
            LocalRequest::Pause {
                service,
                span,
                reason,
            } => match self.agent.may_pause(service.as_ref(), span, &reason) {
                Ok(()) => {
                    let input = Input::Pause {
                        service,
                        span,
                        reason,
                    };
                    self.agent.handle(now, input);
                    LocalResponse::Done
                }
                Err(error) => LocalResponse::Error(error),
            },
            LocalRequest::Resume { service } => match self.agent.may_resume(service.as_ref()) {
                Ok(()) => {
                    self.look_at_packages(true);
                    self.agent.handle(now, Input::Resume { service });
                    LocalResponse::Done
                }
                Err(error) => LocalResponse::Error(error),
            },
        };
        // A client that went away does not need the answer.
        let _ = asked.answer.send(response);
    }
}
