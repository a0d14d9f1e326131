//! TLS settings from files: always ring, always both sides verified against our own authority.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::files;

/// The largest PEM file that is read: a bundle of all public authorities has 230 KiB.
const PEM_MAX_BYTES: usize = 1024 * 1024;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the {role} {}: {cause}; {remedy}", path.display())]
pub struct TlsError {
    /// What the file is for: `CA certificate`, `certificate`, `private key`.
    pub role: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub cause: String,
    /// What a person can do about it.
    pub remedy: String,
}

/// Makes ring the process's TLS provider. Call once at start; a second call does nothing.
pub fn install_provider() {
    // An error only says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client that trusts `ca` only and, with `cert_key` = (certificate chain, key), shows who it is.
pub fn client_config(
    ca: &Path,
    cert_key: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = roots(ca)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| broken("CA certificate", ca, error.to_string()))?
        .with_root_certificates(roots);
    let config = match cert_key {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => builder
            .with_client_auth_cert(chain("certificate", cert)?, private_key(key)?)
            .map_err(|error| mismatch(cert, key, &error))?,
    };
    Ok(Arc::new(config))
}

/// Where distributions keep the authorities that a host trusts: Debian, Fedora, SUSE, Alpine.
const HOST_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A client that trusts the authorities that this host trusts.
pub fn client_config_of_host() -> Result<Arc<ClientConfig>, TlsError> {
    let mut found = HOST_ROOTS.iter().map(Path::new);
    let path = found.find(|path| path.exists()).ok_or_else(|| TlsError {
        role: "CA certificates of the host",
        path: PathBuf::from(HOST_ROOTS[0]),
        cause: "there is no such file, nor where other distributions keep it".to_owned(),
        remedy: "install the package ca-certificates, or name an authority with ca".to_owned(),
    })?;
    let mut roots = RootCertStore::empty();
    // Among a hundred authorities one that rustls cannot use is no reason to trust none.
    let (usable, _unusable) =
        roots.add_parsable_certificates(chain("CA certificates of the host", path)?);
    if usable == 0 {
        return Err(broken(
            "CA certificates of the host",
            path,
            "none is usable".to_owned(),
        ));
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| broken("CA certificates of the host", path, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A server that demands a client certificate of `ca` from everybody.
pub fn server_config(ca: &Path, cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let roots = Arc::new(roots(ca)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| broken("CA certificate", ca, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| broken("certificate", cert, error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain("certificate", cert)?, private_key(key)?)
        .map_err(|error| mismatch(cert, key, &error))?;
    Ok(Arc::new(config))
}

/// Named explicitly: with two providers in a process, rustls panics when it must guess.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(ca: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain("CA certificate", ca)? {
        roots
            .add(certificate)
            .map_err(|error| broken("CA certificate", ca, error.to_string()))?;
    }
    Ok(roots)
}

fn chain(role: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(role, path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| broken(role, path, error.to_string()))?;
    if chain.is_empty() {
        return Err(broken(
            role,
            path,
            "there is no CERTIFICATE section in it".to_owned(),
        ));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read("private key", path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let cause = match error {
            rustls_pki_types::pem::Error::NoItemsFound => {
                "there is no PRIVATE KEY section in it".to_owned()
            }
            other => other.to_string(),
        };
        broken("private key", path, cause)
    })
}

fn read(role: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    match files::read_capped(path, PEM_MAX_BYTES) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(TlsError {
            role,
            path: path.to_owned(),
            cause: "there is no such file".to_owned(),
            remedy: "check the path".to_owned(),
        }),
        Err(error) => Err(TlsError {
            role,
            path: path.to_owned(),
            cause: error.cause.to_string(),
            remedy: error.remedy,
        }),
    }
}

fn broken(role: &'static str, path: &Path, cause: String) -> TlsError {
    let remedy = "it must be a PEM file".to_owned();
    TlsError {
        role,
        path: path.to_owned(),
        cause,
        remedy,
    }
}

fn mismatch(cert: &Path, key: &Path, error: &rustls::Error) -> TlsError {
    TlsError {
        role: "private key",
        path: key.to_owned(),
        cause: error.to_string(),
        remedy: format!("it must be the key of the certificate {}", cert.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Authority;

    #[test]
    fn good_files_make_both_sides() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Authority::new(dir.path(), "ca");
        let (cert, key) = ca.issue(dir.path(), "node-1");
        client_config(&ca.file, Some((&cert, &key))).unwrap();
        client_config(&ca.file, None).unwrap();
        server_config(&ca.file, &cert, &key).unwrap();
    }

    #[test]
    fn each_wrong_file_is_named_with_its_role_and_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Authority::new(dir.path(), "ca");
        let (cert, key) = ca.issue(dir.path(), "node-1");
        let (_, other_key) = ca.issue(dir.path(), "node-2");
        let text = dir.path().join("text");
        crate::files::write_atomic(&text, b"hello", 0o600).unwrap();
        let absent = dir.path().join("absent");

        let says = |ca: &Path, cert: &Path, key: &Path| {
            client_config(ca, Some((cert, key)))
                .unwrap_err()
                .to_string()
        };
        let said = says(&absent, &cert, &key);
        assert!(
            said.contains("CA certificate") && said.contains("no such file"),
            "{said}"
        );
        let said = says(&text, &cert, &key);
        assert!(
            said.contains("CA certificate") && said.contains("no CERTIFICATE"),
            "{said}"
        );
        let said = says(&ca.file, &key, &key);
        assert!(
            said.contains("the certificate ") && said.contains("no CERTIFICATE"),
            "{said}"
        );
        let said = says(&ca.file, &cert, &cert);
        assert!(
            said.contains("private key") && said.contains("no PRIVATE KEY"),
            "{said}"
        );
        let said = says(&ca.file, &cert, &other_key);
        assert!(
            said.contains("must be the key of the certificate"),
            "{said}"
        );
        assert!(server_config(&ca.file, &cert, &other_key).is_err());
    }
}
