//! Certificates that only the test trusts.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, in PEM format.
    pub cert: String,
    /// The private key, in PEM format.
    pub key: String,
}

impl Certificate {
    /// Makes a self-signed certificate for these hosts.
    pub fn self_signed(hosts: &[&str]) -> Self {
        let made = rcgen::generate_simple_self_signed(names(hosts)).unwrap();
        Self { cert: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// Makes a certificate for these hosts, and returns it with the certificate of the authority that signed it. Each
    /// authority has a unique name, so that a certificate of another one has an unknown issuer.
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
