//! Certificates for the tests of this crate.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::files::write_atomic;

/// A certificate authority with its certificate in a file.
pub struct Authority {
    /// Its own certificate.
    pub file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, called `name`, in `dir`.
    pub fn new(dir: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().unwrap();
        let file = dir.join(format!("{name}.crt"));
        write_atomic(
            &file,
            params.self_signed(&key).unwrap().pem().as_bytes(),
            0o644,
        )
        .unwrap();
        Authority {
            file,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `localhost` with the common name `name`, and its key.
    pub fn issue(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (cert, key_file) = (
            dir.join(format!("{name}.crt")),
            dir.join(format!("{name}.key")),
        );
        write_atomic(&cert, certificate.pem().as_bytes(), 0o644).unwrap();
        write_atomic(&key_file, key.serialize_pem().as_bytes(), 0o644).unwrap();
        (cert, key_file)
    }
}
