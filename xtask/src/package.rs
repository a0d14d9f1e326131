//! `cargo xtask package`: three Debian packages in `dist/`, by dpkg-deb on staged trees.
//!
//! nodemedic-agent goes on every server (agent, watchdog and plugins belong together: they share a
//! run directory and are upgraded in an order), nodemedic-coordinator on one, nodemedic (the
//! command line) where people sit. docs/reference/packages.md says more.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build;

/// A release build of everything on two slow cores takes a third of this.
const BUILD_LIMIT: Duration = Duration::from_secs(5400);
/// Any of the small tools.
const TOOL_LIMIT: Duration = Duration::from_secs(120);
/// Debian's own part of the version.
const REVISION: &str = "1";
/// What dpkg-shlibdeps says of such binaries; stated where it is not installed (package dpkg-dev).
const DEPENDS: &str = "libc6 (>= 2.34), libgcc-s1 (>= 4.2)";

struct Package {
    name: &'static str,
    cargo: &'static [&'static str],
    /// From the build's directory.
    programs: &'static [(&'static str, &'static str)],
    /// From `packaging/`.
    files: &'static [(&'static str, &'static str)],
    directories: &'static [&'static str],
    /// Beside the libraries.
    depends: &'static [&'static str],
}

const PACKAGES: &[Package] = &[
    Package {
        name: "nodemedic-agent",
        cargo: &[
            "nodemedic-agent",
            "nodemedic-helper",
            "nodemedic-watchdog",
            "nodemedic-plugin-chrony",
        ],
        programs: &[
            ("nodemedic-agent", "usr/sbin/nodemedic-agent"),
            ("nodemedic-watchdog", "usr/sbin/nodemedic-watchdog"),
            ("nodemedic-helper", "usr/sbin/nodemedic-helper"),
            (
                "nodemedic-generator",
                "lib/systemd/system-generators/nodemedic-generator",
            ),
            (
                "nodemedic-plugin-chrony",
                "usr/lib/nodemedic/plugins/nodemedic-plugin-chrony",
            ),
        ],
        files: &[
            (
                "systemd/nodemedic-agent.service",
                "lib/systemd/system/nodemedic-agent.service",
            ),
            (
                "systemd/nodemedic-watchdog.service",
                "lib/systemd/system/nodemedic-watchdog.service",
            ),
            (
                "systemd/nodemedic-helper.socket",
                "lib/systemd/system/nodemedic-helper.socket",
            ),
            (
                "systemd/nodemedic-helper.service",
                "lib/systemd/system/nodemedic-helper.service",
            ),
            (
                "systemd/nodemedic-fenced.service",
                "lib/systemd/system/nodemedic-fenced.service",
            ),
            (
                "systemd/nodemedic-remedy@.service",
                "lib/systemd/system/nodemedic-remedy@.service",
            ),
            (
                "sysusers.d/nodemedic-agent.conf",
                "usr/lib/sysusers.d/nodemedic-agent.conf",
            ),
            (
                "tmpfiles.d/nodemedic-agent.conf",
                "usr/lib/tmpfiles.d/nodemedic-agent.conf",
            ),
            ("config/agent.toml", "etc/nodemedic/agent.toml"),
            (
                "config/nodemedic-watchdog.default",
                "etc/default/nodemedic-watchdog",
            ),
            (
                "examples/web.toml",
                "usr/share/doc/nodemedic-agent/examples/web.toml",
            ),
            (
                "examples/orders@.service",
                "usr/share/doc/nodemedic-agent/examples/orders@.service",
            ),
            (
                "examples/agent-as-root.conf",
                "usr/share/doc/nodemedic-agent/examples/agent-as-root.conf",
            ),
        ],
        directories: &["etc/nodemedic/agent.d"],
        depends: &[
            "init-system-helpers (>= 1.52)",
            "systemd (>= 247)",
            // Rules that see the unit and the verb.
            "polkitd | policykit-1 (>= 0.120)",
        ],
    },
    Package {
        name: "nodemedic-coordinator",
        cargo: &["nodemedic-coordinator"],
        programs: &[("nodemedic-coordinator", "usr/sbin/nodemedic-coordinator")],
        files: &[
            (
                "systemd/nodemedic-coordinator.service",
                "lib/systemd/system/nodemedic-coordinator.service",
            ),
            (
                "sysusers.d/nodemedic-coordinator.conf",
                "usr/lib/sysusers.d/nodemedic-coordinator.conf",
            ),
            ("config/coordinator.toml", "etc/nodemedic/coordinator.toml"),
        ],
        directories: &["etc/nodemedic/coordinator.d"],
        depends: &["init-system-helpers (>= 1.52)", "systemd (>= 247)"],
    },
    Package {
        name: "nodemedic",
        cargo: &["nodemedic-cli"],
        programs: &[("nodemedic", "usr/bin/nodemedic")],
        files: &[],
        directories: &[],
        depends: &[],
    },
];

/// Builds all packages in a profile.
///
/// # Errors
/// When a program does not build, or a tool of Debian is missing or fails.
pub fn run(profile: &str) -> Result<()> {
    let built = compile(profile)?;
    // Small is worth a minute of xz only where it is downloaded.
    let effort = if profile == "dev" { "-z1" } else { "-z9" };
    let dist = build::root().join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("making {}", dist.display()))?;
    for package in PACKAGES {
        let file = make(package, &built, &dist, effort)?;
        println!("{}", file.display());
    }
    Ok(())
}

/// Compiles every program and gives the directory where they lie.
fn compile(profile: &str) -> Result<PathBuf> {
    let directory = match profile {
        "dev" => "debug",
        "release" => "release",
        other => bail!("no profile {other}: say release or dev"),
    };
    let mut arguments = vec!["build", "--profile", profile];
    if profile == "dev" {
        // As every other command builds it, so that nothing is built twice.
        arguments.extend(["--workspace", "--all-targets"]);
    } else {
        // Only what is shipped, with only the features that it asks for.
        for package in PACKAGES.iter().flat_map(|package| package.cargo) {
            arguments.extend(["--package", package]);
        }
    }
    build::run_cargo(&arguments, BUILD_LIMIT)?;
    Ok(build::target().join(directory))
}

fn make(package: &Package, built: &Path, dist: &Path, effort: &str) -> Result<PathBuf> {
    let stage = build::target().join("package").join(package.name);
    if stage.exists() {
        fs::remove_dir_all(&stage).with_context(|| format!("emptying {}", stage.display()))?;
    }
    let name = package.name;
    let version = format!("{}-{REVISION}", env!("CARGO_PKG_VERSION"));
    let packaging = build::root().join("packaging");
    for (from, to) in package.programs {
        let to = install(&built.join(from), &stage.join(to), 0o755)?;
        tool(
            Command::new("strip").arg("--strip-unneeded").arg(&to),
            &stage,
            None,
        )?;
    }
    for (from, to) in package.files {
        install(&packaging.join(from), &stage.join(to), 0o644)?;
    }
    for directory in package.directories {
        directories(&stage.join(directory))?;
    }
    documents(name, &version, &packaging, &stage)?;
    let depends = depends(package, &stage)?;
    control(package, &version, &depends, &packaging, &stage)?;
    let file = dist.join(format!("{name}_{version}_{}.deb", architecture()?));
    // Complete or not there: a test takes the newest file.
    let unfinished = dist.join(format!(".{name}.new"));
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", "-Zxz", effort, "--build"])
        .arg(&stage)
        .arg(&unfinished);
    tool(&mut pack, &stage, None)?;
    fs::rename(&unfinished, &file).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// Copyright, and the two changelogs that Debian wants.
fn documents(name: &str, version: &str, packaging: &Path, stage: &Path) -> Result<()> {
    let place = stage.join("usr/share/doc").join(name);
    install(
        &packaging.join("debian/copyright"),
        &place.join("copyright"),
        0o644,
    )?;
    install(
        &build::root().join("CHANGELOG.md"),
        &place.join("changelog"),
        0o644,
    )?;
    let template = read(&packaging.join("debian/changelog"))?;
    let text = template
        .replace("@PACKAGE@", name)
        .replace("@VERSION@", version);
    write(&place.join("changelog.Debian"), &text, 0o644)?;
    for file in ["changelog", "changelog.Debian"] {
        tool(
            Command::new("gzip").args(["-9", "--no-name", file]),
            &place,
            None,
        )?;
    }
    Ok(())
}

/// The libraries that the programs need, by dpkg-shlibdeps where it is installed, and the rest.
fn depends(package: &Package, stage: &Path) -> Result<String> {
    let mut all = String::from(DEPENDS);
    if Path::new("/usr/bin/dpkg-shlibdeps").exists() {
        // It insists on the source tree of a Debian package around it.
        let around = stage.with_extension("shlibs");
        let source = format!(
            "Source: {0}\n\nPackage: {0}\nArchitecture: any\n",
            package.name
        );
        write(&around.join("debian/control"), &source, 0o644)?;
        let mut command = Command::new("dpkg-shlibdeps");
        command.arg("-O");
        for (_, program) in package.programs {
            command.arg(stage.join(program));
        }
        let answer = around.join("answer");
        tool(&mut command, &around, Some(&answer))?;
        let text = read(&answer)?;
        let found = text.trim().strip_prefix("shlibs:Depends=");
        all = found
            .context("dpkg-shlibdeps named no libraries")?
            .to_string();
    }
    for more in package.depends {
        all = format!("{all}, {more}");
    }
    Ok(all)
}

/// Everything in `DEBIAN/`.
fn control(
    package: &Package,
    version: &str,
    depends: &str,
    packaging: &Path,
    stage: &Path,
) -> Result<()> {
    let from = packaging.join("debian").join(package.name);
    let place = stage.join("DEBIAN");
    let own = read(&from.join("control"))?;
    let head = format!(
        "Package: {}\nVersion: {version}\nArchitecture: {}\n\
         Maintainer: The nodemedic developers <nodemedic@nodemedic.example>\n\
         Installed-Size: {}\nDepends: {depends}\nPriority: optional\n\
         Homepage: {}\n",
        package.name,
        architecture()?,
        size_kib(stage)?,
        env!("CARGO_PKG_REPOSITORY"),
    );
    write(&place.join("control"), &format!("{head}{own}"), 0o644)?;
    for (file, mode) in [
        ("conffiles", 0o644),
        ("postinst", 0o755),
        ("prerm", 0o755),
        ("postrm", 0o755),
    ] {
        if from.join(file).exists() {
            install(&from.join(file), &place.join(file), mode)?;
        }
    }
    let mut files = Vec::new();
    list(stage, stage, &mut files)?;
    files.sort();
    let mut sums = Command::new("md5sum");
    sums.args(files.iter().filter(|file| !file.starts_with("DEBIAN")));
    let answer = stage.with_extension("md5sums");
    tool(&mut sums, stage, Some(&answer))?;
    install(&answer, &place.join("md5sums"), 0o644)?;
    Ok(())
}

fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("Debian's name of the architecture {other} is not known here"),
    }
}

/// Paths below `top`, relative to it; `md5sum` shows them as they are.
fn list(top: &Path, directory: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in
        fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            list(top, &path, out)?;
        } else {
            out.push(path.strip_prefix(top)?.to_path_buf());
        }
    }
    Ok(())
}

fn size_kib(stage: &Path) -> Result<u64> {
    let mut files = Vec::new();
    list(stage, stage, &mut files)?;
    let mut bytes = 0;
    for file in files {
        bytes += fs::metadata(stage.join(file))?.len();
    }
    Ok(bytes.div_ceil(1024))
}

/// Makes a directory with the modes that Debian wants, whatever the umask.
fn directories(path: &Path) -> Result<()> {
    let package = build::target().join("package");
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    for above in path.ancestors().take_while(|above| *above != package) {
        fs::set_permissions(above, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("setting the mode of {}", above.display()))?;
    }
    Ok(())
}

fn install(from: &Path, to: &Path, mode: u32) -> Result<PathBuf> {
    directories(to.parent().unwrap_or(to))?;
    fs::copy(from, to)
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
        .with_context(|| format!("setting the mode of {}", to.display()))?;
    Ok(to.to_path_buf())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    directories(path.parent().unwrap_or(path))?;
    let error = || format!("writing {}", path.display());
    let mut file = File::create(path).with_context(error)?;
    file.write_all(text.as_bytes()).with_context(error)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
        .with_context(error)
}

/// Runs a tool of Debian; its output goes to a file, if one is named.
fn tool(command: &mut Command, directory: &Path, output: Option<&Path>) -> Result<()> {
    command.current_dir(directory);
    if let Some(path) = output {
        let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
        command.stdout(file);
    }
    build::succeed(command, TOOL_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_a_package_holds_is_in_the_tree() {
        let packaging = build::root().join("packaging");
        for package in PACKAGES {
            let own = packaging.join("debian").join(package.name);
            assert!(own.join("control").exists(), "{}", package.name);
            for (from, _) in package.files {
                assert!(packaging.join(from).exists(), "{from}");
            }
            let conffiles = fs::read_to_string(own.join("conffiles")).unwrap_or_default();
            let wanted: Vec<String> = (package.files.iter())
                .filter(|(_, to)| to.starts_with("etc/"))
                .map(|(_, to)| format!("/{to}"))
                .collect();
            for file in &wanted {
                assert!(
                    conffiles.lines().any(|line| line == file),
                    "{file} is no conffile"
                );
            }
            assert_eq!(conffiles.lines().count(), wanted.len(), "{}", package.name);
        }
    }

    #[test]
    fn units_name_programs_that_the_packages_install() {
        for package in PACKAGES {
            for (from, _) in package
                .files
                .iter()
                .filter(|(from, _)| from.starts_with("systemd/") && from.ends_with(".service"))
            {
                let unit = read(&build::root().join("packaging").join(from)).unwrap();
                let start = unit
                    .lines()
                    .find_map(|line| line.strip_prefix("ExecStart=/"));
                let program = start
                    .and_then(|line| line.split_whitespace().next())
                    .unwrap();
                assert!(
                    package.programs.iter().any(|(_, to)| *to == program),
                    "{from}: {program}"
                );
            }
        }
    }
}
