//! What goes wrong under TLS, in words that say at which end, and what helps.

use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::io;
use std::time::Duration;

/// What TLS has to say about an error, or about what is behind it; `None` if it is none of TLS.
pub fn tls_fault(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(fault(error));
        }
        // What such an error wraps is not its source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(error) = wrapped.and_then(|wrapped| wrapped.downcast_ref::<rustls::Error>()) {
            return Some(fault(error));
        }
        next = error.source();
    }
    None
}

fn fault(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => {
            "the other side does not speak TLS, or damaged it: switch TLS on for both sides or for neither".to_owned()
        }
        rustls::Error::NoCertificatesPresented => {
            "the other side presents no certificate: give it one of the CA that this side trusts (security.ssl.*.cert and .key)"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(error) => format!("the other side's certificate {}", of_certificate(error)),
        rustls::Error::AlertReceived(alert) => of_alert(*alert),
        other => other.to_string(),
    }
}

/// What the other side found wrong.
fn of_alert(alert: AlertDescription) -> String {
    let text = match alert {
        // A CA of the same name with another key is told as a wrong signature.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "the other side trusts another CA than the one that signed this side's certificate: let one CA sign those of both \
             sides, and give it to both (security.ssl.*.ca)"
        }
        AlertDescription::CertificateRequired => {
            "the other side asks for a certificate, and this side presents none: give it one (security.ssl.*.cert and .key, for \
             REST with security.ssl.rest.authentication-enabled)"
        }
        AlertDescription::CertificateExpired => {
            "the other side says that this side's certificate has expired: renew it, or set the clocks right"
        }
        other => return format!("the other side has ended TLS with the alert {other:?}: see its log"),
    };
    text.to_owned()
}

/// What is wrong with a certificate, as the rest of a sentence about it.
pub(super) fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired => "has expired: renew it".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let since = Duration::from_secs(time.as_secs().saturating_sub(not_after.as_secs()));
            format!("has expired {} ago: renew it", roughly(since))
        }
        CertificateError::NotValidYet => "is not valid yet: set the clocks of both sides right".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let left = Duration::from_secs(not_before.as_secs().saturating_sub(time.as_secs()));
            format!("is valid only in {}: set the clocks of both sides right", roughly(left))
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not signed by the CA that this side trusts (security.ssl.*.ca): let one CA sign those of both sides"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "is for {}, not for {}: ask by a name that it has, or set security.ssl.verify-hostname to false",
            presented.join(", "),
            expected.to_str()
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "may not be used for this: issue it for servers and clients (extended key usages serverAuth and clientAuth)"
                .to_owned()
        }
        other => format!("is refused: {other}"),
    }
}

/// A time in its largest unit, for people.
fn roughly(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "days"), (3_600, "hours"), (60, "minutes")];
    let unit = units.into_iter().find(|(length, _)| seconds >= 2 * length);
    unit.map_or(format!("{seconds} seconds"), |(length, name)| {
        format!("{} {name}", seconds / length)
    })
}
