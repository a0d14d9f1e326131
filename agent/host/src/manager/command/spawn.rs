//! Starts a program so that it outlives the agent: own session, no terminal, output into a file.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command as Program, Stdio};

use nodemedic_agent_core::UnitKey;
use nodemedic_edge::{clock, files};
use nodemedic_protocol::Generation;

use super::gate::{self, Latch};
use super::record::{Record, file_stem, pid_path};
use super::{Command, Places, Started, log_file};
use crate::manager::process::PROC;
use crate::sampler::pid_stat::stat_of;

/// In the environment of every process of one start.
pub const MARK: &str = "NODEMEDIC_RUN";

/// Directories of units are for the agent and its units.
const DIRECTORY_MODE: u32 = 0o755;

/// Prepares, starts and records; with a `gate`, what starts is that program, which waits. May wait
/// for the disk.
pub fn start(
    unit: &UnitKey,
    places: &Places,
    run: &Command,
    generation: Option<Generation>,
    more: &BTreeMap<String, String>,
    gate: Option<&Path>,
) -> Result<Started, String> {
    let own = own_environment(unit, places, generation);
    prepare_directories(unit, places, generation)?;
    let log = log_file::open(&places.logs.join(format!("{}.log", file_stem(unit))))?;
    let record = Record {
        boot_id: places.boot_id.clone(),
        generation,
        mark: format!("{}.{}", file_stem(unit), clock::boottime_us()),
        prepared_ticks: now_ticks(),
        pid: None,
        start_ticks: None,
        gated: gate.is_some(),
    };
    let pid_file = create(&pid_path(unit, places))?;
    record.save(unit, places)?;
    let (mut command, latch) = program(run, gate)?;
    command
        .envs(&run.environment)
        .envs(more)
        .envs(own)
        .env(MARK, &record.mark)
        .stdout(log.try_clone().map_err(|e| e.to_string())?)
        .stderr(log);
    if let Some(directory) = work_directory(unit, places) {
        command.current_dir(directory);
    }
    own_session(&mut command, pid_file);
    let child = command.spawn().map_err(|error| {
        let program = command.get_program().to_string_lossy();
        format!("cannot start {program}: {error}; see that it is there and may be executed")
    })?;
    // Dropped without waiting: it is held and collected by its pidfd.
    let pid = child.id();
    let stat = stat_of(Path::new(PROC), pid).map_err(|error| error.to_string())?;
    let stat = stat.ok_or_else(|| format!("process {pid} vanished"))?;
    let record = Record {
        pid: Some(pid),
        start_ticks: Some(stat.start_ticks),
        ..record
    };
    record.save(unit, places)?;
    Ok(Started {
        record,
        pid,
        start_ticks: stat.start_ticks,
        latch,
    })
}

/// The program itself, or the gate that becomes it when its latch is opened.
fn program(run: &Command, gate: Option<&Path>) -> Result<(Program, Option<Latch>), String> {
    let mut words = run.start.iter();
    let program = words.next().ok_or("the command is empty")?;
    let Some(gate) = gate else {
        let mut command = Program::new(program);
        command.args(words).stdin(Stdio::null());
        return Ok((command, None));
    };
    let (latch, stdin) =
        gate::latch().map_err(|error| format!("cannot make a gate for {program}: {error}"))?;
    let mut command = Program::new(gate);
    command
        .arg0(gate::NAME)
        .arg(gate::ARGUMENT)
        .arg(program)
        .args(words)
        .stdin(stdin);
    Ok((command, Some(latch)))
}

/// The new process leads a session of its own and writes its number down before the program
/// begins. (The standard library clears the signal mask and resets SIGPIPE already.)
fn own_session(command: &mut Program, mut pid_file: File) {
    let before = move || {
        let pid = rustix::process::setsid().map_err(io::Error::from)?;
        let mut digits = [0_u8; 20];
        let mut rest = pid.as_raw_nonzero().get().unsigned_abs();
        let mut at = digits.len();
        while rest > 0 {
            at -= 1;
            digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        pid_file.write_all(&digits[at..])
    };
    #[expect(
        unsafe_code,
        reason = "no safe call makes a session; between fork and exec only setsid and write run, \
                  which are async-signal-safe, and nothing is allocated"
    )]
    // SAFETY: see the reason.
    unsafe {
        command.pre_exec(before);
    }
}

/// What the agent tells every unit about itself.
pub fn own_environment(
    unit: &UnitKey,
    places: &Places,
    generation: Option<Generation>,
) -> BTreeMap<String, String> {
    let mut own = BTreeMap::new();
    if let UnitKey::Work(name) = unit {
        own.insert("NODEMEDIC_WORK".to_owned(), name.to_string());
    }
    if let Some(directory) = work_directory(unit, places) {
        own.insert(
            "NODEMEDIC_DIR".to_owned(),
            directory.to_string_lossy().into_owned(),
        );
    }
    if let Some(generation) = generation {
        own.insert("NODEMEDIC_GENERATION".to_owned(), generation.to_string());
        if let Some(directory) = work_directory(unit, places) {
            let file = directory.join("generation");
            own.insert(
                "NODEMEDIC_GENERATION_FILE".to_owned(),
                file.to_string_lossy().into_owned(),
            );
        }
    }
    own
}

fn work_directory(unit: &UnitKey, places: &Places) -> Option<std::path::PathBuf> {
    match unit {
        UnitKey::Work(name) => Some(places.works.join(name.as_str())),
        UnitKey::Service(_) => None,
    }
}

fn prepare_directories(
    unit: &UnitKey,
    places: &Places,
    generation: Option<Generation>,
) -> Result<(), String> {
    let ensure =
        |path: &Path| files::ensure_dir(path, DIRECTORY_MODE).map_err(|error| error.to_string());
    if !places.records.is_dir() {
        forget_other_boots(places);
    }
    ensure(&places.records)?;
    ensure(&places.logs)?;
    if let Some(directory) = work_directory(unit, places) {
        ensure(&places.works)?;
        ensure(&directory)?;
        if let Some(generation) = generation {
            let (path, text) = (directory.join("generation"), format!("{generation}\n"));
            // Waits for the disk, so only when it says something new.
            if !std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
                files::write_atomic(&path, text.as_bytes(), 0o644)
                    .map_err(|error| error.to_string())?;
            }
        }
    }
    Ok(())
}

/// The first start of a boot: what earlier boots recorded is of no use. What cannot be removed does
/// no harm.
fn forget_other_boots(places: &Places) {
    let Some(all) = places.records.parent() else {
        return;
    };
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove an old record");
        }
    }
}

fn create(path: &Path) -> Result<File, String> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)
        .map_err(|error| format!("cannot create {}: {error}", path.display()))
}

fn now_ticks() -> u64 {
    let per_s = rustix::param::clock_ticks_per_second();
    clock::boottime().0.saturating_mul(per_s) / 1000
}
