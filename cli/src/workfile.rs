//! A file of works as people write them, `[work.NAME]` as in the coordinator's configuration, or as
//! JSON as the API takes it. A mistake is explained as the coordinator would explain it in its own
//! files.

use std::collections::BTreeMap;
use std::path::Path;

use nodemedic_edge::config::{self, ConfigError, Place};
use nodemedic_edge::{files, works};
use nodemedic_protocol::api::PutWork;
use serde::Deserialize;

use crate::failure::Failure;

/// The coordinator takes no larger request either.
const FILE_MAX_BYTES: usize = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    work: BTreeMap<String, works::Work>,
}

/// The works of a file.
pub fn read(path: &Path) -> Result<PutWork, Failure> {
    if !path.is_file() {
        return Err(Failure::usage(
            format!("there is no file {}", path.display()),
            "",
        ));
    }
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return read_json(path);
    }
    read_toml(path).map_err(|error| Failure::usage(error.to_string(), ""))
}

fn read_toml(path: &Path) -> Result<PutWork, ConfigError> {
    let file: File = config::load(path, None)?;
    let place = Place::new(path, None);
    let works = file
        .work
        .into_iter()
        .map(|(name, work)| works::check(&name, work, &place))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(PutWork { works })
}

fn read_json(path: &Path) -> Result<PutWork, Failure> {
    let bytes = files::read_capped(path, FILE_MAX_BYTES)?.unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::usage(
            format!("{} is not what the API takes: {error}", path.display()),
            "`nodemedic work --json` shows the shape of each \"spec\"; or write TOML",
        )
    })
}

#[cfg(test)]
mod tests {
    use nodemedic_protocol::work::{OnLeaseLoss, Run, Sharing};

    use super::*;
    use crate::failure::Kind;

    fn read_text(name: &str, text: &str) -> Result<PutWork, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        read(&path)
    }

    #[test]
    fn works_are_read_as_people_write_them() {
        let put = read_text(
            "works.toml",
            r#"
[work.ledger]
exclusive = { on_lease_loss = "stop" }
command = ["/usr/bin/ledger"]

[work.web]
replicas = 2
unit = "web@.service"
"#,
        )
        .unwrap();
        let [ledger, web] = put.works.as_slice() else {
            panic!("{:?}", put.works)
        };
        assert_eq!(
            ledger.sharing,
            Sharing::Exclusive {
                on_lease_loss: OnLeaseLoss::Stop
            }
        );
        assert_eq!(
            web.run,
            Run::Systemd {
                unit: "web@.service".into()
            }
        );
    }

    #[test]
    fn what_the_api_shows_can_be_applied_again() {
        let toml = "[work.web]\nreplicas = 2\nunit = \"web@.service\"\n";
        let put = read_text("works.toml", toml).unwrap();
        let again = read_text("works.json", &serde_json::to_string(&put).unwrap()).unwrap();
        assert_eq!(put, again);
    }

    #[test]
    fn mistakes_are_usage_errors_that_say_where_and_what_to_write() {
        for (text, said) in [
            (
                "[work.a]\nreplicas = 1\n",
                "works.toml:1:7: work.a: what runs? Write unit = ",
            ),
            (
                "[work.a]\nexclusive = true\ncommand = [\"/x\"]\n",
                "works.toml:2:1: work.a.exclusive: exclusive work must say what its node does",
            ),
            (
                "[work.a]\nreplicas = 1\ncommand = [\"x\"]\n",
                "works.toml:3:1: work.a.command: \"x\" is not an absolute path",
            ),
            (
                "[work.a]\nreplicsa = 1\ncommand = [\"/x\"]\n",
                "works.toml:2:1: unknown key \"replicsa\"; the nearest valid key is \"replicas\"",
            ),
        ] {
            let failure = read_text("works.toml", text).unwrap_err();
            assert_eq!(failure.kind, Kind::Usage);
            assert!(failure.message.contains(said), "{failure}");
        }
        assert_eq!(
            read(Path::new("/nonexistent.toml")).unwrap_err().kind,
            Kind::Usage
        );
    }
}
