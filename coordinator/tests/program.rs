//! The program as a person or systemd runs it: exit codes, and what is printed.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::TcpListener;
    use std::path::Path;

    use nodemedic_edge::child::{Spec, run};
    use nodemedic_edge::files::write_atomic;
    use nodemedic_protocol::Millis;
    use tempfile::TempDir;

    struct Said {
        code: Option<i32>,
        out: String,
        error: String,
    }

    async fn coordinator(config: &Path, more: &[&str]) -> Said {
        let mut args = vec!["--config".to_owned(), config.display().to_string()];
        args.extend(more.iter().map(|argument| (*argument).to_owned()));
        let finished = run(Spec {
            program: env!("CARGO_BIN_EXE_nodemedic-coordinator").into(),
            args,
            env: BTreeMap::from([("NODEMEDIC_LOG".to_owned(), "error".to_owned())]),
            cwd: None,
            stdin: Vec::new(),
            timeout: Millis::from_secs(30),
            output_max_bytes: 1 << 20,
        })
        .await
        .unwrap();
        Said {
            code: finished.code,
            out: String::from_utf8(finished.stdout).unwrap(),
            error: String::from_utf8(finished.stderr).unwrap(),
        }
    }

    fn config(directory: &TempDir, text: &str) -> std::path::PathBuf {
        let path = directory.path().join("coordinator.toml");
        write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        path
    }

    #[tokio::test]
    async fn a_bad_key_ends_with_78_and_starts_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = config(&directory, "[state]\ndirectry = \"state\"\n");
        for more in [&[][..], &["--check"]] {
            let said = coordinator(&path, more).await;
            assert_eq!(said.code, Some(78), "{}", said.error);
            assert!(
                said.error.contains("coordinator.toml:2:1"),
                "{}",
                said.error
            );
            assert!(
                said.error
                    .contains("the nearest valid key is \"directory\"")
            );
        }
        assert!(!directory.path().join("state").exists());
    }

    #[tokio::test]
    async fn a_check_says_what_the_configuration_means_and_starts_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = config(&directory, "[state]\ndirectory = \"state\"\n");
        let said = coordinator(&path, &["--check"]).await;
        assert_eq!(said.code, Some(0), "{}", said.error);
        assert!(
            said.out
                .contains("embedded at 127.0.0.1:1883, plaintext for this machine only")
        );
        assert!(!directory.path().join("state").exists());
    }

    #[tokio::test]
    async fn a_port_in_use_ends_with_1_and_names_the_key() {
        let directory = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let text = format!("[api]\nlisten = \"{address}\"\n[state]\ndirectory = \"state\"\n");
        let said = coordinator(&config(&directory, &text), &[]).await;
        assert_eq!(said.code, Some(1), "{}", said.error);
        for word in [
            &address.to_string(),
            "Another program has the port",
            "[api] listen",
        ] {
            assert!(said.error.contains(word), "{}", said.error);
        }
    }

    #[tokio::test]
    async fn a_state_directory_that_cannot_be_written_ends_with_1_and_names_it() {
        let directory = tempfile::tempdir().unwrap();
        write_atomic(&directory.path().join("state"), b"a file", 0o600).unwrap();
        let path = config(&directory, "[state]\ndirectory = \"state\"\n");
        let said = coordinator(&path, &[]).await;
        assert_eq!(said.code, Some(1), "{}", said.error);
        assert!(said.error.contains("/state"), "{}", said.error);
    }
}
