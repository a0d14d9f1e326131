//! Whom an `https://` coordinator must be vouched for by: the authorities of a file, or those of
//! this system.

use std::path::{Path, PathBuf};

use nodemedic_edge::{files, tls};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::failure::Failure;

/// Debian's bundle of all authorities of the web has 220 KiB.
const CA_MAX_BYTES: usize = 4 << 20;

/// Where distributions keep their authorities: Debian and SUSE, then Fedora and its kin.
const SYSTEM: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// TLS towards the coordinator.
pub fn tls_config(ca: Option<&Path>) -> Result<TlsConfig, Failure> {
    tls::install_provider();
    let path = match ca {
        Some(path) => path.to_path_buf(),
        None => SYSTEM
            .iter()
            .map(PathBuf::from)
            .find(|path| path.is_file())
            .ok_or_else(|| {
                Failure::usage(
                    "this system has no list of certificate authorities",
                    "give --ca with the authority of the coordinator's certificate",
                )
            })?,
    };
    let certificates = read(&path)?;
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::new_with_certs(&certificates))
        .build())
}

fn read(path: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let remedy = "give --ca with a file of certificates in PEM";
    let bytes = files::read_capped(path, CA_MAX_BYTES)
        .map_err(|error| Failure::usage(error.to_string(), remedy))?
        .ok_or_else(|| Failure::usage(format!("there is no file {}", path.display()), remedy))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&bytes) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            // A key beside the certificate, say.
            Ok(_) => {}
            Err(error) => {
                let text = format!("{} is not PEM: {error}", path.display());
                return Err(Failure::usage(text, remedy));
            }
        }
    }
    if certificates.is_empty() {
        return Err(Failure::usage(
            format!("{} holds no certificate", path.display()),
            remedy,
        ));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    #[test]
    fn a_file_without_certificates_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert_eq!(tls_config(Some(&path)).unwrap_err().kind, Kind::Usage);
        files::write_atomic(&path, b"hello", 0o600).unwrap();
        let failure = tls_config(Some(&path)).unwrap_err();
        assert!(
            failure.message.contains("holds no certificate"),
            "{failure}"
        );
    }
}
