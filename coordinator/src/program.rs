//! The process around a coordinator: configuration, signals, exit codes.

use std::path::Path;
use std::process::ExitCode;

use nodemedic_edge::config::EXIT_CONFIG;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{BrokerConfig, Config};
use crate::fence::renew_secrets;
use crate::life::{self, Running};

/// Threads of the runtime: one for the event loop, one so that TLS handshakes of the embedded
/// broker do not delay leases.
const THREADS: usize = 2;

/// Webhook tries and file work of the broker; more at once would only queue at the disk.
const BLOCKING_THREADS_MAX: usize = 16;

/// What the program is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Look after the fleet until told to stop.
    Run,
    /// Only check the configuration.
    Check,
}

/// The whole program: 0 ended on request, 1 failed, 78 the configuration is wrong.
#[must_use]
pub fn run(path: &Path, mode: Mode) -> ExitCode {
    let config = match Config::read(path) {
        Ok(config) => config,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if mode == Mode::Check {
        say(&summary(&config));
        return ExitCode::SUCCESS;
    }
    nodemedic_edge::log::init("nodemedic-coordinator");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(live(path, config)),
        Err(error) => Err(format!(
            "cannot start threads: {error}. Raise the limit of tasks"
        )),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn live(path: &Path, config: Config) -> Result<(), String> {
    let listen_for = |kind| signal(kind).map_err(|error| format!("cannot take signals: {error}"));
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;
    let mut reload = listen_for(SignalKind::hangup())?;
    let mut in_force = config.clone();
    let mut running = life::start(config)
        .await
        .map_err(|error| error.to_string())?;
    loop {
        tokio::select! {
            cause = running.ended() => return Err(cause),
            () = received(&mut terminate) => break,
            () = received(&mut interrupt) => break,
            () = received(&mut reload) => read_again(path, &mut in_force, &running).await,
        }
    }
    tracing::info!("stopping on request");
    running.stop().await;
    Ok(())
}

async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        // No signal will come any more; the other arms decide.
        std::future::pending::<()>().await;
    }
}

/// SIGHUP: works are declared again, and fence devices get their secrets as the files hold them
/// now; that more has changed is said, for it needs a restart.
async fn read_again(path: &Path, in_force: &mut Config, running: &Running) {
    let config = match Config::read(path) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(
                "the new configuration is refused, the old one stays in force: {error}"
            );
            return;
        }
    };
    running.declare(config.works.clone()).await;
    in_force.works.clone_from(&config.works);
    renew_secrets(&mut in_force.fences, &config.fences);
    running.rearm(in_force.fences.clone()).await;
    if *in_force == config {
        tracing::info!("read the configuration again");
    } else {
        tracing::warn!(
            "read the configuration again; only its works and the secrets of fence devices that \
             are the same otherwise are taken now, the rest needs a restart"
        );
    }
}

fn summary(config: &Config) -> String {
    let broker = match &config.broker {
        BrokerConfig::Embedded {
            listen,
            tls: Some(_),
        } => {
            format!("embedded at {listen}, TLS with client certificates")
        }
        BrokerConfig::Embedded { listen, tls: None } => {
            format!("embedded at {listen}, plaintext for this machine only")
        }
        BrokerConfig::External { host, port, tls } => {
            format!(
                "{host}:{port}, {}",
                if tls.is_some() { "TLS" } else { "plaintext" }
            )
        }
    };
    let receivers = match config.webhooks.len() {
        0 => "none; alerts go to the log only".to_owned(),
        _ => config
            .webhooks
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(", "),
    };
    format!(
        "the configuration is good\n  site       {}\n  api        {}{}\n  broker     {broker}\n  \
         state      {}\n  works      {}\n  receivers  {receivers}",
        config.site,
        config.api.listen,
        if config.api.token.is_some() {
            ", with a token"
        } else {
            ", this machine only"
        },
        config.directory.display(),
        config.works.len(),
    )
}

#[expect(
    clippy::print_stdout,
    reason = "the answer of --check is this program's output"
)]
fn say(text: &str) {
    println!("{text}");
}

#[expect(
    clippy::print_stderr,
    reason = "the one place that prints why the program ends"
)]
fn complain(text: &str) {
    eprintln!("nodemedic-coordinator: {text}");
}
