//! Certificates that nobody but the test believes.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub cert: String,
    /// Its private key.
    pub key: String,
}

impl Certificate {
    /// One for these hosts, signed by itself.
    pub fn self_signed(hosts: &[&str]) -> Self {
        let made = rcgen::generate_simple_self_signed(names(hosts)).unwrap();
        Self { cert: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// One for these hosts, and the certificate of the authority that has signed it. No two authorities have the same
    /// name: what is signed by another one has an unknown issuer.
    pub fn signed(hosts: &[&str]) -> (Self, rcgen::Certificate) {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let fingerprint: String = key.public_key_pem().lines().nth(2).unwrap().chars().take(16).collect();
        params.distinguished_name.push(DnType::CommonName, format!("authority {fingerprint}"));
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(names(hosts)).unwrap().signed_by(&key, &issuer).unwrap();
        (Self { cert: cert.pem(), key: key.serialize_pem() }, authority)
    }
}

fn names(hosts: &[&str]) -> Vec<String> {
    hosts.iter().map(|host| (*host).to_owned()).collect()
}
