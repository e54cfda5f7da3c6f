//! `high-availability.zookeeper.*`: which ZooKeeper, where in it, and how patiently.

use super::wire::Acl;
use flott_core::Options;
use flott_core::options::OptionError;
use std::fmt;
use std::time::Duration;

const QUORUM: &str = "high-availability.zookeeper.quorum";
const ROOT: &str = "high-availability.zookeeper.path.root";
const CLUSTER: &str = "high-availability.cluster-id";
const ACL: &str = "high-availability.zookeeper.client.acl";
const AUTHORIZATION: &str = "high-availability.zookeeper.client.authorization";
const ENSEMBLE_TRACKER: &str = "high-availability.zookeeper.client.ensemble-tracker";
const TOLERATE_SUSPENDED: &str = "high-availability.zookeeper.client.tolerate-suspended-connections";

/// Where a server listens that says no port.
const DEFAULT_PORT: u16 = 2181;

/// A server of ZooKeeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Who a process is for ZooKeeper. It does not print the proof.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    /// e.g. `digest`
    pub scheme: String,
    /// e.g. user, colon and password
    pub proof: String,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorization({}:******)", self.scheme)
    }
}

/// How a process uses ZooKeeper.
#[derive(Debug, Clone)]
pub struct Settings {
    /// One of them is enough.
    pub servers: Vec<Server>,
    /// The node of the cluster, which has everything below it.
    pub folder: String,
    /// What is asked for; the servers may grant another.
    pub session_timeout: Duration,
    /// How long a request waits for a connection.
    pub connection_timeout: Duration,
    /// Before a candidate that reaches no server tries again for the first time; then twice as long each time.
    pub retry_wait: Duration,
    /// The longest such pause.
    pub max_retry_wait: Duration,
    /// So often it tries before it tells so.
    pub max_retries: u32,
    pub acl: Acl,
    pub authorizations: Vec<Authorization>,
    /// Whether a leader leads on while its connection is broken, for as long as its session lasts.
    pub tolerates_suspended: bool,
}

impl Settings {
    /// Reads the options.
    ///
    /// # Errors
    /// If a value is wrong or missing, or asks for what is not done here.
    pub fn from_options(options: &Options) -> Result<Self, OptionError> {
        refuse_sasl(options)?;
        if options.boolean(ENSEMBLE_TRACKER)? == Some(true) {
            let allowed = format!("false, or nothing: servers are always those of {QUORUM}");
            return Err(OptionError::new(ENSEMBLE_TRACKER, "true", allowed));
        }
        let (servers, chroot) = quorum(options)?;
        let root = nodes(ROOT, options.get(ROOT).unwrap_or("/flink"))?;
        let cluster = nodes(CLUSTER, options.get(CLUSTER).unwrap_or("/default"))?;
        let client = |name: &str, default_ms: i64| {
            let key = format!("high-availability.zookeeper.client.{name}");
            let ms = options.duration_ms(&key)?.unwrap_or(default_ms);
            let in_range = u64::try_from(ms).ok().filter(|ms| i32::try_from(*ms).is_ok());
            let allowed = format!("a time from 0 to {} ms", i32::MAX);
            in_range
                .map(Duration::from_millis)
                .ok_or_else(|| OptionError::new(&key, options.get(&key).unwrap_or_default(), allowed))
        };
        let attempts = "high-availability.zookeeper.client.max-retry-attempts";
        let retries = options.integer(attempts)?.unwrap_or(3);
        let retries = u32::try_from(retries)
            .map_err(|_| OptionError::new(attempts, &retries.to_string(), "a whole number of at least 0"))?;
        let authorizations = authorizations(options)?;
        Ok(Self {
            servers,
            folder: format!("{chroot}{root}{cluster}"),
            session_timeout: client("session-timeout", 60_000)?,
            connection_timeout: client("connection-timeout", 15_000)?,
            retry_wait: client("retry-wait", 5_000)?,
            max_retry_wait: client("max-retry-wait", 60_000)?,
            max_retries: retries,
            acl: acl(options, &authorizations)?,
            authorizations,
            tolerates_suspended: options.boolean(TOLERATE_SUSPENDED)?.unwrap_or(false),
        })
    }

    /// The servers, as messages name them.
    pub fn quorum(&self) -> String {
        let all: Vec<String> = self.servers.iter().map(Server::to_string).collect();
        format!("{} ({QUORUM})", all.join(","))
    }
}

/// The servers of `host:port,host:port/chroot`, and the node that all others are below.
fn quorum(options: &Options) -> Result<(Vec<Server>, String), OptionError> {
    let allowed = "the servers of a ZooKeeper: host:port, host:port, …";
    let text = options.get(QUORUM).unwrap_or_default().replace(char::is_whitespace, "");
    if text.is_empty() {
        return Err(OptionError::new(
            QUORUM,
            options.get(QUORUM).unwrap_or("(unset)"),
            allowed,
        ));
    }
    let (servers, chroot) = text.split_at(text.find('/').unwrap_or(text.len()));
    let servers: Option<Vec<Server>> = servers.split(',').map(server).collect();
    let servers = servers.ok_or_else(|| OptionError::new(QUORUM, &text, allowed))?;
    Ok((servers, nodes(QUORUM, chroot)?))
}

fn server(text: &str) -> Option<Server> {
    let (host, port) = match text.strip_prefix('[') {
        // An address of IPv6.
        Some(rest) => rest.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port {
        "" => DEFAULT_PORT,
        port => port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?,
    };
    let host = Some(host.to_owned()).filter(|host| !host.is_empty())?;
    Some(Server { host, port })
}

/// The path of a node, with a slash before each name and none behind.
fn nodes(key: &str, text: &str) -> Result<String, OptionError> {
    let names = text.split('/').filter(|name| !name.is_empty());
    let is_wrong = |name: &str| matches!(name, "." | "..") || name.contains(char::is_control);
    if names.clone().any(is_wrong) {
        return Err(OptionError::new(
            key,
            text,
            "a path of ZooKeeper, such as /flink, without . and ..",
        ));
    }
    Ok(names.map(|name| format!("/{name}")).collect())
}

fn acl(options: &Options, authorizations: &[Authorization]) -> Result<Acl, OptionError> {
    match options.one_of(ACL, &["open", "creator"])? {
        Some(1) if authorizations.is_empty() => {
            let allowed = format!(
                "open, or {AUTHORIZATION} beside it, such as digest:'user:password': who creates must be somebody"
            );
            Err(OptionError::new(ACL, "creator", allowed))
        }
        Some(1) => Ok(Acl::Creator),
        _ => Ok(Acl::Open),
    }
}

/// Those of a list `scheme:proof,scheme:proof`, in which quotes keep commas together, and of options of a scheme each.
fn authorizations(options: &Options) -> Result<Vec<Authorization>, OptionError> {
    let mut all = vec![];
    for entry in unquoted_parts(options.get(AUTHORIZATION).unwrap_or_default()) {
        let Some((scheme, proof)) = entry.split_once(':').filter(|(scheme, _)| !scheme.is_empty()) else {
            return Err(OptionError::new(
                AUTHORIZATION,
                &entry,
                "scheme:proof, such as digest:'user:password'",
            ));
        };
        let (scheme, proof) = (scheme.to_owned(), proof.to_owned());
        all.push(Authorization { scheme, proof });
    }
    let of_schemes = options.with_prefix(&format!("{AUTHORIZATION}."));
    all.extend(
        of_schemes
            .into_iter()
            .map(|(scheme, proof)| Authorization { scheme, proof }),
    );
    Ok(all)
}

/// The parts between commas that no quotes are around, without the quotes.
fn unquoted_parts(text: &str) -> Vec<String> {
    let (mut parts, mut quote) = (vec![String::new()], None);
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if c == ',' => parts.push(String::new()),
            _ => parts.last_mut().into_iter().for_each(|part| part.push(c)),
        }
    }
    parts
        .iter()
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

/// SASL would need Kerberos.
fn refuse_sasl(options: &Options) -> Result<(), OptionError> {
    if options.boolean("zookeeper.sasl.disable")? == Some(true) {
        return Ok(());
    }
    let contexts = "security.kerberos.login.contexts";
    let is_asked = |key: &str, value: &str| match key {
        "zookeeper.sasl.service-name" | "zookeeper.sasl.login-context-name" => true,
        _ => key == contexts && value.split(',').any(|context| context.trim() == "Client"),
    };
    match options.iter().find(|(key, value)| is_asked(key, value)) {
        Some((key, value)) => {
            let allowed = format!(
                "to be left out, for SASL is not spoken with ZooKeeper: keep others out by {ACL}: creator and {AUTHORIZATION}, or set \
                 zookeeper.sasl.disable to true"
            );
            Err(OptionError::new(key, value, allowed))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let options: Options = pairs.iter().copied().collect();
        Settings::from_options(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_flink() {
        let settings = read(&[(QUORUM, "a:2182, b ,[::1]:7")]).unwrap();
        assert_eq!(settings.quorum(), format!("a:2182,b:2181,::1:7 ({QUORUM})"));
        assert_eq!(settings.folder, "/flink/default");
        let times = [
            settings.session_timeout,
            settings.connection_timeout,
            settings.retry_wait,
            settings.max_retry_wait,
        ];
        assert_eq!(times.map(|time| time.as_secs()), [60, 15, 5, 60]);
        assert_eq!(
            (settings.max_retries, settings.acl, settings.tolerates_suspended),
            (3, Acl::Open, false)
        );
    }

    #[test]
    fn a_cluster_has_its_node_below_the_root() {
        let set = [(QUORUM, "a:1/kept/here"), (ROOT, "/streams/"), (CLUSTER, "sales")];
        assert_eq!(read(&set).unwrap().folder, "/kept/here/streams/sales");
        let wrong = read(&[(QUORUM, "a:1"), (CLUSTER, "../other")]).unwrap_err();
        assert!(wrong.contains(CLUSTER) && wrong.contains("../other"), "{wrong}");
    }

    #[test]
    fn wrong_servers_are_told_with_the_option() {
        for wrong in [
            "a:x",
            "a:0",
            ":2181",
            "a:1,,b:1",
            "a:1:2",
            "http://a:1",
            "[::1",
            "[::1]2181",
        ] {
            let error = read(&[(QUORUM, wrong)]).err().unwrap_or_else(|| panic!("{wrong}"));
            assert!(error.contains(QUORUM) && error.contains("host:port"), "{error}");
        }
        let unset = read(&[]).unwrap_err();
        assert!(unset.contains(QUORUM) && unset.contains("(unset)"), "{unset}");
    }

    #[test]
    fn who_creates_must_be_somebody() {
        let creator = [(QUORUM, "a:1"), (ACL, "creator")];
        assert!(read(&creator).unwrap_err().contains(AUTHORIZATION));
        let proofs = |text: &str| {
            let settings = read(&[creator[0], creator[1], (AUTHORIZATION, text)]).unwrap();
            assert_eq!(settings.acl, Acl::Creator);
            assert!(!format!("{settings:?}").contains("pass"), "it prints a password");
            let all = settings.authorizations.into_iter();
            all.map(|one| (one.scheme, one.proof)).collect::<Vec<_>>()
        };
        let digest = ("digest".to_owned(), "me:pass,word".to_owned());
        assert_eq!(proofs("digest:'me:pass,word'"), std::slice::from_ref(&digest));
        let other = ("ensemble".to_owned(), "one".to_owned());
        assert_eq!(proofs("digest:\"me:pass,word\", ensemble:one"), [digest, other]);
        let of_scheme = format!("{AUTHORIZATION}.digest");
        let settings = read(&[(QUORUM, "a:1"), (&of_scheme, "me:pass")]).unwrap();
        assert_eq!(settings.authorizations[0].proof, "me:pass");
        let wrong = read(&[(QUORUM, "a:1"), (AUTHORIZATION, "me-pass")]).unwrap_err();
        assert!(wrong.contains("scheme:proof") && !wrong.contains("me-pass"), "{wrong}");
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        let refused = [
            (ENSEMBLE_TRACKER, "true"),
            ("zookeeper.sasl.service-name", "zk"),
            ("security.kerberos.login.contexts", "KafkaClient,Client"),
            ("high-availability.zookeeper.client.session-timeout", "100 d"),
            ("high-availability.zookeeper.client.max-retry-attempts", "-1"),
        ];
        for (key, value) in refused {
            let error = read(&[(QUORUM, "a:1"), (key, value)]).unwrap_err();
            assert!(error.contains(key) && error.contains(value), "{error}");
        }
        let disabled = [
            (QUORUM, "a:1"),
            ("zookeeper.sasl.service-name", "zk"),
            ("zookeeper.sasl.disable", "true"),
        ];
        read(&disabled).unwrap();
        read(&[(QUORUM, "a:1"), ("security.kerberos.login.contexts", "KafkaClient")]).unwrap();
    }
}
