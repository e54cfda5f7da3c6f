//! SCRAM (RFC 5802, RFC 7677) as a SASL client, without channel binding, for SHA-256 and SHA-512.
//!
//! Three steps, each a pure function over the server's last message: [`Scram::first_message`], [`Scram::final_message`],
//! [`Scram::verify`]. The server proves with its signature that it knows the password; without it we do not go on.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};

/// One exchange.
pub struct Scram<'a> {
    kind: Kind,
    username: &'a str,
    password: &'a str,
    nonce: String,
    expected_signature: Vec<u8>,
}

/// The hash of an exchange.
#[derive(Clone, Copy)]
pub enum Kind {
    Sha256,
    Sha512,
}

/// What a server may ask for at most: RFC 7677 wants 4096, Kafka's own default is 4096.
const MAX_ITERATIONS: u32 = 10_000_000;

impl Kind {
    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Kind::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Kind::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Kind::Sha256 => hmac::HMAC_SHA256,
            Kind::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Kind::Sha256 => &digest::SHA256,
            Kind::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, data).as_ref().to_vec()
    }

    fn bytes(self) -> usize {
        match self {
            Kind::Sha256 => digest::SHA256_OUTPUT_LEN,
            Kind::Sha512 => digest::SHA512_OUTPUT_LEN,
        }
    }
}

impl<'a> Scram<'a> {
    /// An exchange with `nonce` (printable, without commas, fresh for each).
    pub fn new(kind: Kind, username: &'a str, password: &'a str, nonce: String) -> Self {
        Self {
            kind,
            username,
            password,
            nonce,
            expected_signature: Vec::new(),
        }
    }

    fn first_bare(&self) -> String {
        format!(
            "n={},r={}",
            self.username.replace('=', "=3D").replace(',', "=2C"),
            self.nonce
        )
    }

    /// What the client sends first.
    pub fn first_message(&self) -> String {
        format!("n,,{}", self.first_bare())
    }

    /// The proof, after the server's first message; the error is the reason.
    pub fn final_message(&mut self, server_first: &str) -> Result<String, String> {
        let attribute = |name: &str| server_first.split(',').find_map(|part| part.strip_prefix(name));
        let nonce = attribute("r=").ok_or("the server's first SCRAM message has no nonce")?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err("the server's SCRAM nonce does not continue ours".into());
        }
        let salt = attribute("s=")
            .and_then(|s| BASE64.decode(s).ok())
            .ok_or("the server's first SCRAM message has no readable salt")?;
        let iterations = attribute("i=")
            .and_then(|i| i.parse::<u32>().ok())
            .filter(|i| *i <= MAX_ITERATIONS)
            .and_then(NonZeroU32::new)
            .ok_or("the server's first SCRAM message has no usable iteration count")?;

        let mut salted = vec![0; self.kind.bytes()];
        pbkdf2::derive(
            self.kind.pbkdf2(),
            iterations,
            &salt,
            self.password.as_bytes(),
            &mut salted,
        );
        let client_key = self.kind.hmac(&salted, b"Client Key");
        let stored_key = self.kind.digest(&client_key);
        let without_proof = format!("c=biws,r={nonce}");
        let auth_message = format!("{},{server_first},{without_proof}", self.first_bare());
        let signature = self.kind.hmac(&stored_key, auth_message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(k, s)| k ^ s).collect();
        let server_key = self.kind.hmac(&salted, b"Server Key");
        self.expected_signature = self.kind.hmac(&server_key, auth_message.as_bytes());
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)))
    }

    /// Whether the server's last message proves that it knows the password.
    pub fn verify(&self, server_final: &str) -> Result<(), String> {
        if let Some(error) = server_final.strip_prefix("e=") {
            return Err(format!("the server answered '{error}'"));
        }
        let signature = server_final
            .split(',')
            .find_map(|part| part.strip_prefix("v="))
            .and_then(|v| BASE64.decode(v).ok())
            .ok_or("the server's last SCRAM message has no signature")?;
        if self.expected_signature.is_empty() || signature != self.expected_signature {
            return Err("the server could not prove that it knows the password".into());
        }
        Ok(())
    }
}

/// A fresh nonce.
pub fn nonce() -> Result<String, String> {
    let mut bytes = [0u8; 18];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| "the operating system gave no random bytes".to_owned())?;
    Ok(BASE64.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn rfc_7677() {
        let mut scram = Scram::new(Kind::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO".into());
        assert_eq!(scram.first_message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server_first = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(
            scram.final_message(server_first).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        assert!(scram.verify("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").is_err());
        assert!(scram.verify("e=invalid-proof").unwrap_err().contains("invalid-proof"));
    }

    #[test]
    fn a_server_that_cheats_is_refused() {
        let fresh = || Scram::new(Kind::Sha512, "u,=x", "p", "abc".into());
        assert_eq!(fresh().first_message(), "n,,n=u=2C=3Dx,r=abc");
        for bad in [
            "",
            "r=abc,s=QQ==,i=4096",
            "r=xbcdef,s=QQ==,i=1",
            "r=abcd,s=!!,i=1",
            "r=abcd,s=QQ==,i=0",
            "r=abcd,s=QQ==,i=99999999999",
        ] {
            assert!(fresh().final_message(bad).is_err(), "{bad}");
        }
        assert!(fresh().verify("v=").is_err());
    }

    #[test]
    fn nonces_differ() {
        assert_ne!(nonce().unwrap(), nonce().unwrap());
    }
}
