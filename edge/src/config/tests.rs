//! Mistakes that people make in configuration files, and what they are told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nodemedic_protocol::Millis;
use serde::Deserialize;
use tempfile::TempDir;

use super::*;
use crate::files::write_atomic;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Config {
    node: Option<String>,
    labels: BTreeMap<String, String>,
    service: BTreeMap<String, Service>,
    list: Vec<Service>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Service {
    unit: String,
    #[serde(default)]
    restart: Restart,
    #[serde(default)]
    when_spent: WhenSpent,
    #[serde(default, with = "crate::config::span_opt")]
    grace: Option<Millis>,
    #[serde(default)]
    port: u16,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Restart {
    max: u32,
    #[serde(with = "crate::config::span")]
    window: Millis,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum WhenSpent {
    #[default]
    Fence,
    FenceAndDrain,
}

/// A main file and a directory of more, in a place of their own.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new(main: &str, more: &[(&str, &str)]) -> Files {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { dir };
        std::fs::create_dir(files.more()).unwrap();
        write_atomic(&files.main(), main.as_bytes(), 0o600).unwrap();
        for (name, text) in more {
            write_atomic(&files.more().join(name), text.as_bytes(), 0o600).unwrap();
        }
        files
    }

    fn main(&self) -> PathBuf {
        self.dir.path().join("agent.toml")
    }

    fn more(&self) -> PathBuf {
        self.dir.path().join("agent.d")
    }

    fn load(&self) -> Result<Config, ConfigError> {
        load(&self.main(), Some(&self.more()))
    }

    /// What a person is told, with the directory left out.
    fn told(&self) -> String {
        self.short(&self.load().unwrap_err())
    }

    fn short(&self, error: &ConfigError) -> String {
        error
            .to_string()
            .replace(&format!("{}/", self.dir.path().display()), "")
    }
}

fn told(main: &str) -> String {
    Files::new(main, &[]).told()
}

#[test]
fn files_join_table_by_table_in_the_order_of_their_names() {
    let files = Files::new(
        "node = 'n1'\n[service.web]\nunit = 'a'\n",
        &[
            ("20-db.toml", "[service.db]\nunit = 'b'\ngrace = '1m30s'\n"),
            (
                "10-web.toml",
                "[service.web.restart]\nmax = 3\nwindow = '10m'\n",
            ),
            ("notes.txt", "this is no TOML"),
            (".10-web.toml.swp.toml", "left over = by an editor"),
        ],
    );
    let config = files.load().unwrap();
    assert_eq!(config.node.as_deref(), Some("n1"));
    assert_eq!(
        config.service["web"].restart,
        Restart {
            max: 3,
            window: Millis(600_000)
        }
    );
    assert_eq!(config.service["db"].grace, Some(Millis(90_000)));
}

#[test]
fn a_missing_directory_is_empty_and_a_missing_main_file_is_an_error() {
    let files = Files::new("", &[]);
    std::fs::remove_dir(files.more()).unwrap();
    assert_eq!(files.load().unwrap(), Config::default());
    std::fs::remove_file(files.main()).unwrap();
    assert_eq!(
        files.told(),
        "agent.toml: there is no such file; create it or name another"
    );
}

#[test]
fn an_unknown_key_names_the_nearest_valid_one() {
    assert_eq!(
        told("[service.web]\nunit = 'x'\n  restrat = { max = 1 }\n"),
        "agent.toml:3:3: unknown key \"restrat\"; the nearest valid key is \"restart\", in \
         [service.web]"
    );
    assert_eq!(
        told("nodee = 'x'"),
        "agent.toml:1:1: unknown key \"nodee\"; the nearest valid key is \"node\""
    );
    assert_eq!(
        told("[service.web]\nunit = 'x'\nrestart = { maks = 1, window = '1s' }\n"),
        "agent.toml:3:13: unknown key \"maks\"; the nearest valid key is \"max\", in \
         [service.web.restart]"
    );
    assert_eq!(
        told("[servce.web]\nunit = 'x'"),
        "agent.toml:1:2: unknown key \"servce\"; the nearest valid key is \"service\""
    );
}

#[test]
fn a_key_far_from_every_valid_one_gets_the_list_instead_of_a_guess() {
    assert_eq!(
        told("zzz = 1"),
        "agent.toml:1:1: unknown key \"zzz\"; valid keys are node, labels, service, list"
    );
}

#[test]
fn an_error_in_a_second_file_points_into_that_file() {
    let files = Files::new(
        "# a long\n# first\n# file\nnode = 'x'\n",
        &[
            ("10.toml", "[labels]\na = 'b'\n"),
            ("20.toml", "\n[service.db]\nunitt = 'b'\n"),
        ],
    );
    assert_eq!(
        files.told(),
        "agent.d/20.toml:3:1: unknown key \"unitt\"; the nearest valid key is \"unit\", in \
         [service.db]"
    );
}

#[test]
fn the_same_key_twice_names_both_places() {
    let files = Files::new(
        "[service.web]\nunit = 'a'\n",
        &[("10.toml", "[service.web]\nport = 1\nunit = 'b'\n")],
    );
    let dir = files.dir.path().display().to_string();
    assert_eq!(
        files.load().unwrap_err().to_string(),
        format!(
            "{dir}/agent.d/10.toml:3:1: service.web.unit is set already at {dir}/agent.toml:2:1; \
             keep one of the two"
        )
    );
    // A table cannot be joined with a plain value either.
    let files = Files::new("labels = {}\n", &[("10.toml", "labels = 'x'\n")]);
    assert!(
        files.told().contains("labels is set already at "),
        "{}",
        files.told()
    );
}

#[test]
fn a_value_of_the_wrong_kind_names_its_key() {
    assert_eq!(
        told("[service.web]\nunit = 5\n"),
        "agent.toml:2:8: service.web.unit: invalid type: integer `5`, expected a string"
    );
    assert_eq!(
        told("[service.web]\nunit = 'x'\nport = 70000\n"),
        "agent.toml:3:8: service.web.port: invalid value: integer `70000`, expected u16"
    );
    assert_eq!(
        told("[service.'my web']\nunit = 'x'\ngrace = 10\n"),
        "agent.toml:3:9: service.\"my web\".grace: 10 is not a span: write 10s, 250ms, 1m30s"
    );
    assert_eq!(
        told("[service.web]\nunit = 'x'\nrestart = { window = '10 minutes' }\n"),
        "agent.toml:3:22: service.web.restart.window: 10 minutes is not a span: write 10s, \
         250ms, 1m30s"
    );
    assert_eq!(
        told("[[list]]\nunit = 'x'\n[[list]]\nunit = 'y'\nport = true\n"),
        "agent.toml:5:8: list.port: invalid type: boolean `true`, expected u16"
    );
}

#[test]
fn a_missing_key_names_its_table() {
    assert_eq!(
        told("node = 'x'\n\n[service.web]\nport = 1\n"),
        "agent.toml:3:1: missing key \"unit\", in [service.web]"
    );
}

#[test]
fn an_unknown_value_names_the_nearest_valid_one() {
    assert_eq!(
        told("[service.web]\nunit = 'x'\nwhen_spent = 'fence_and_drian'\n"),
        "agent.toml:3:14: service.web.when_spent: unknown value \"fence_and_drian\"; the nearest \
         valid value is \"fence_and_drain\""
    );
}

#[test]
fn broken_syntax_names_its_place_in_one_line() {
    for (text, place) in [
        ("node = \n", "agent.toml:1:"),
        ("a = 'x'\n[service.web\nunit = 'x'\n", "agent.toml:2:"),
        (
            "node = 'x'\nnode = 'y'\n",
            "agent.toml:2:1: not valid TOML: duplicate key",
        ),
        ("node = 'ä' x\n", "agent.toml:1:12: not valid TOML"),
    ] {
        let said = told(text);
        assert!(said.starts_with(place), "{said}");
        assert!(
            said.contains("not valid TOML: ") && !said.contains('\n'),
            "{said}"
        );
    }
}

#[test]
fn a_file_that_is_no_text_is_told_so() {
    let files = Files::new("", &[]);
    write_atomic(&files.main(), b"node = 'x'\nlabels = '\xff'\n", 0o600).unwrap();
    assert_eq!(
        files.told(),
        "agent.toml:2:11: not valid TOML: this character is not UTF-8"
    );
}

#[test]
fn a_complaint_of_validation_finds_its_place_in_the_right_file() {
    let files = Files::new(
        "node = 'x'\n",
        &[(
            "web.toml",
            "# web\n[service.web]\nunit = 'a'\nrestart = { max = 0 }\n",
        )],
    );
    let told = |key: &[&str]| {
        files.short(&complain(
            &files.main(),
            Some(&files.more()),
            key,
            "it must not be 0",
        ))
    };
    assert_eq!(
        told(&["service", "web", "restart", "max"]),
        "agent.d/web.toml:4:13: service.web.restart.max: it must not be 0"
    );
    assert_eq!(
        told(&["service", "web", "probe", "http"]),
        "agent.d/web.toml:2:10: service.web.probe.http: it must not be 0",
        "an absent value is laid at its table's door"
    );
    assert_eq!(told(&["broker"]), "agent.toml: broker: it must not be 0");
    assert_eq!(told(&[]), "agent.toml: it must not be 0");
}

#[test]
fn no_file_is_too_strange_to_be_told_about() {
    let dir = tempfile::tempdir().unwrap();
    let error = load::<Config>(dir.path(), None).unwrap_err();
    assert!(error.message.contains("not a regular file"), "{error}");
    let error = load::<Config>(Path::new("/dev/zero"), None).unwrap_err();
    assert!(error.message.contains("not a regular file"), "{error}");
}
