//! How JobManager and TaskManagers find and trust each other, by Flink's option names.

use flott_core::Options;
use flott_core::options::OptionError;
use flott_runtime::net::{Secret, Transport, secret_text};
use std::time::Duration;

/// Settings of both ends.
#[derive(Debug, Clone)]
pub struct RpcSettings {
    /// `jobmanager.rpc.address`: where TaskManagers find the JobManager.
    pub job_manager_host: String,
    /// `jobmanager.rpc.port`
    pub job_manager_port: u16,
    /// `jobmanager.bind-host`: what the JobManager listens at; 127.0.0.1 unless said otherwise.
    pub bind_host: String,
    /// `heartbeat.interval`, 1 s unless said otherwise (Flink: 10 s).
    pub heartbeat_interval: Duration,
    /// `heartbeat.timeout`, 10 s unless said otherwise (Flink: 50 s).
    pub heartbeat_timeout: Duration,
    /// `security.ssl.internal.*`: whether connections are under TLS.
    pub transport: Transport,
    /// `security.internal.shared-secret`, or the file of `security.internal.shared-secret-file`: what every process of the cluster
    /// knows, and nobody else.
    pub secret: Secret,
}

impl RpcSettings {
    /// Reads the options.
    ///
    /// # Errors
    /// If a value is wrong, or a file that one names.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        let text = |key: &str, default: &str| options.get(key).unwrap_or(default).to_owned();
        let duration = |key: &str, default_ms: i64| {
            let ms = options.duration_ms(key)?.unwrap_or(default_ms).max(1);
            Ok::<Duration, OptionError>(Duration::from_millis(ms as u64))
        };
        let interval = duration("heartbeat.interval", 1_000)?;
        let timeout = duration("heartbeat.timeout", 10_000)?;
        if timeout <= interval {
            let shown = format!("{} ms", timeout.as_millis());
            let allowed = format!("a time above heartbeat.interval ({} ms)", interval.as_millis());
            return Err(OptionError::new("heartbeat.timeout", &shown, allowed));
        }
        Ok(Self {
            job_manager_host: text("jobmanager.rpc.address", "localhost"),
            job_manager_port: port(options, "jobmanager.rpc.port")?.unwrap_or(6123),
            bind_host: text("jobmanager.bind-host", "127.0.0.1"),
            heartbeat_interval: interval,
            heartbeat_timeout: timeout,
            transport: Transport::from_options(options)?,
            secret: secret(options)?,
        })
    }
}

/// The shared secret; empty without the option.
fn secret(options: &Options) -> Result<Secret, OptionError> {
    let text = secret_text(options, "security.internal.shared-secret")?;
    Ok(text.map_or_else(Secret::none, Secret::new))
}

/// A port.
///
/// # Errors
/// If the value is none.
pub fn port(options: &Options, key: &str) -> Result<Option<u16>, OptionError> {
    let Some(number) = options.integer(key)? else {
        return Ok(None);
    };
    let wrong = || OptionError::new(key, &number.to_string(), "a port: 0 (any free one) to 65535");
    u16::try_from(number).map(Some).map_err(|_| wrong())
}

/// Whether a host is this machine, seen by nobody else.
pub fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "::1") || host.starts_with("127.")
}

impl RpcSettings {
    /// Judges that a process may listen at `host`, which is the value of `key`.
    ///
    /// # Errors
    /// If others reach it there, and neither a secret nor TLS keeps strangers out.
    pub fn check_exposure(&self, key: &str, host: &str) -> Result<(), OptionError> {
        if is_loopback(host) || self.transport.is_tls() || !self.secret.is_empty() {
            return Ok(());
        }
        let allowed = "an address of this machine alone (127.0.0.1), or something that keeps strangers out, since whoever reaches this port could \
                       run code: 'security.ssl.internal.enabled' with certificates for all processes of the cluster, or \
                       'security.internal.shared-secret' set to one text for all of them";
        Err(OptionError::new(key, host, allowed))
    }
}
