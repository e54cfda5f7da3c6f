//! Metrics outside: the Prometheus endpoint of a running job, and the page that `--metrics` prints.
//!
//! Options are Flink's: `metrics.reporter.<name>.port` (a port, a range `9249-9260` or a list of both; the first free one
//! is taken) and `metrics.reporter.<name>.factory.class`, whose only known value is Prometheus' reporter; without one the
//! name `prom` or a port is enough. `metrics.reporters` picks some of the names. `metrics.reporter.<name>.host` is ours:
//! without it the endpoint listens on 127.0.0.1 only.

use crate::error::LaunchError;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use flott_cluster::JobHandle;
use flott_cluster::liveness;
use flott_cluster::report::Reporter;
use flott_core::Options;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{self, pending};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

const PREFIX: &str = "metrics.reporter.";
const PROMETHEUS: &str = "PrometheusReporterFactory";
/// Flink's default port.
const DEFAULT_PORT: u16 = 9249;

/// Where one reporter wants to listen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    host: String,
    ports: Vec<u16>,
}

type Reported = Arc<Mutex<Vec<(Reporter, JobHandle)>>>;

/// Makes the pages that are served as one.
type Pages = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Tells whether a process can do its work.
type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A place that is listened at.
#[derive(Debug)]
struct Endpoint {
    address: SocketAddr,
    jobs: Reported,
    task: JoinHandle<()>,
}

/// Endpoints that serve until this is dropped; jobs that ask for the same place share it.
#[derive(Debug, Default)]
pub struct Endpoints(BTreeMap<Place, Endpoint>);

impl Endpoints {
    /// Where they listen.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.values().map(|endpoint| endpoint.address)
    }

    /// Serves a job's metrics where its options ask for it.
    ///
    /// # Errors
    /// If an option is wrong or no port is free.
    pub async fn add(&mut self, job: &JobHandle) -> Result<(), LaunchError> {
        for place in places(&job.options)? {
            let reported = (Reporter::new(job.job_id, job.name.clone()), job.clone());
            if let Some(endpoint) = self.0.get(&place) {
                lock(&endpoint.jobs).push(reported);
                continue;
            }
            let listener = listen(&place).await?;
            let address = listener
                .local_addr()
                .map_err(|e| not_listening(&place, &e.to_string()))?;
            let jobs: Reported = Arc::new(Mutex::new(vec![reported]));
            let shown = jobs.clone();
            let pages = move || {
                let mut jobs = lock(&shown);
                jobs.iter_mut()
                    .map(|(reporter, handle)| reporter.render(&handle.stats, handle.status()))
                    .collect()
            };
            let task = tokio::spawn(serve_at(listener, Arc::new(pages)));
            self.0.insert(place, Endpoint { address, jobs, task });
        }
        Ok(())
    }

    /// Serves a job no longer; the ports that only it asked for are free when this returns.
    pub async fn remove(&mut self, job: &JobHandle) {
        let mut unused = vec![];
        for (place, endpoint) in &self.0 {
            let mut jobs = lock(&endpoint.jobs);
            jobs.retain(|(_, reported)| reported.job_id != job.job_id);
            if jobs.is_empty() {
                unused.push(place.clone());
            }
        }
        for place in unused {
            if let Some(mut endpoint) = self.0.remove(&place) {
                endpoint.task.abort();
                let _ = (&mut endpoint.task).await;
            }
        }
    }

    /// Tries whether a job's metrics could be served now, before the job is started.
    ///
    /// # Errors
    /// If an option is wrong or no port is free.
    pub async fn try_ports(&self, options: &Options) -> Result<(), LaunchError> {
        for place in places(options)? {
            if !self.0.contains_key(&place) {
                listen(&place).await?;
            }
        }
        Ok(())
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(jobs: &Reported) -> std::sync::MutexGuard<'_, Vec<(Reporter, JobHandle)>> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves on a thread of its own for as long as what this gives is not dropped.
fn serve_apart(
    listener: std::net::TcpListener,
    pages: Pages,
    ready: Ready,
) -> std::io::Result<impl Future<Output = ()> + use<>> {
    let (needed, dropped) = oneshot::channel::<()>();
    let serving = move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            tokio::select! {
                () = serve_routes(listener, pages_router(pages).merge(health_router(ready))) => {}
                _ = dropped => {}
            }
            Ok(())
        });
        // A page that hangs is not waited for.
        runtime.shutdown_background();
        served
    };
    let thread = std::thread::Builder::new().name("metrics".to_owned());
    thread.spawn(move || {
        if let Err(error) = serving() {
            tracing::warn!(%error, "the metrics endpoint has ended");
        }
    })?;
    Ok(async move {
        pending::<()>().await;
        drop(needed);
    })
}

/// Whether the process gets on, and can do its work.
fn health_router(ready: Ready) -> Router {
    let told = |is_well: Result<(), String>| {
        let unwell = |why: String| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
        future::ready(is_well.map(|()| "ok\n").map_err(unwell))
    };
    let is_live = || liveness::process().check();
    Router::new()
        .route("/livez", get(move || told(is_live())))
        .route("/readyz", get(move || told(is_live().and_then(|()| ready()))))
}

fn pages_router(pages: Pages) -> Router {
    let render = move || {
        let pages = pages.clone();
        async move {
            // What a page waits for must hold nothing else up.
            let text = spawn_blocking(move || merge(pages())).await.unwrap_or_default();
            (
                [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
                text,
            )
        }
    };
    Router::new()
        .route("/", get(render.clone()))
        .route("/metrics", get(render))
}

async fn serve_at(listener: TcpListener, pages: Pages) {
    serve_routes(listener, pages_router(pages)).await;
}

async fn serve_routes(listener: TcpListener, router: Router) {
    if let Err(error) = axum::serve(listener, router).await {
        tracing::warn!(%error, "the metrics endpoint has ended");
    }
}

/// Serves the jobs' metrics where their options ask for it.
///
/// # Errors
/// If an option is wrong or no port is free.
pub async fn serve(jobs: &[JobHandle]) -> Result<Endpoints, LaunchError> {
    let mut endpoints = Endpoints::default();
    for job in jobs {
        endpoints.add(job).await?;
    }
    Ok(endpoints)
}

/// Serves the pages of a process that is part of a cluster where its options ask for it, until the endpoints are dropped: on a thread
/// of its own, so that it answers also where the process hangs. `/livez` says whether it does, `/readyz` whether it can do its work,
/// which `ready` tells.
///
/// # Errors
/// If an option is wrong or no port is free.
pub async fn serve_process(
    options: &Options,
    pages: impl Fn() -> Vec<String> + Send + Sync + 'static,
    ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
) -> Result<Endpoints, LaunchError> {
    let (mut endpoints, pages): (Endpoints, Pages) = (Endpoints::default(), Arc::new(pages));
    let ready: Ready = Arc::new(ready);
    for place in places(options)? {
        let listener = listen(&place).await?;
        let failed = |e: std::io::Error| not_listening(&place, &e.to_string());
        let address = listener.local_addr().map_err(failed)?;
        let serving = listener
            .into_std()
            .and_then(|listener| serve_apart(listener, pages.clone(), ready.clone()));
        let task = tokio::spawn(serving.map_err(failed)?);
        let jobs = Reported::default();
        endpoints.0.insert(place, Endpoint { address, jobs, task });
    }
    Ok(endpoints)
}

/// Judges the options.
///
/// # Errors
/// If one has a value that it cannot have.
pub fn check(options: &Options) -> Result<(), LaunchError> {
    places(options).map(|_| ())
}

/// All metrics of a job as they are now.
pub fn page(handle: &JobHandle) -> String {
    Reporter::new(handle.job_id, handle.name.clone()).render(&handle.stats, handle.status())
}

/// One page of several: the samples of a name must stand together, below one `# TYPE`.
fn merge(mut pages: Vec<String>) -> String {
    if pages.len() == 1 {
        return pages.remove(0);
    }
    let mut samples: BTreeMap<&str, String> = BTreeMap::new();
    let mut type_line = "";
    for line in pages.iter().flat_map(|p| p.lines()) {
        if line.starts_with("# TYPE ") {
            type_line = line;
        } else {
            let of_name = samples.entry(type_line).or_default();
            of_name.push_str(line);
            of_name.push('\n');
        }
    }
    samples
        .into_iter()
        .map(|(type_line, lines)| format!("{type_line}\n{lines}"))
        .collect()
}

fn places(options: &Options) -> Result<BTreeSet<Place>, LaunchError> {
    let settings = options.with_prefix(PREFIX);
    let mut names: BTreeSet<&str> = settings
        .keys()
        .filter_map(|k| k.split_once('.'))
        .map(|(name, _)| name)
        .collect();
    if let Some(chosen) = options.get("metrics.reporters") {
        let chosen: BTreeSet<&str> = chosen
            .split([',', ';'])
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .collect();
        names.retain(|n| chosen.contains(n));
        names.extend(chosen.iter().filter(|n| **n == "prom"));
    }
    let mut places = BTreeSet::new();
    for name in names {
        let setting = |key: &str| settings.get(&format!("{name}.{key}")).map(|v| v.trim());
        match setting("factory.class") {
            Some(class) if !class.ends_with(PROMETHEUS) => {
                tracing::warn!(
                    "metrics reporter '{name}' is left out: of Flink's reporters only Prometheus' ({PROMETHEUS}) is here"
                );
                continue;
            }
            None if name != "prom" && setting("port").is_none() => continue,
            _ => {}
        }
        let ports = match setting("port") {
            None => vec![DEFAULT_PORT],
            Some(text) => parse_ports(text).ok_or_else(|| LaunchError::Ports {
                option: format!("{PREFIX}{name}.port"),
                value: text.to_owned(),
            })?,
        };
        places.insert(Place {
            host: setting("host").unwrap_or("127.0.0.1").to_owned(),
            ports,
        });
    }
    Ok(places)
}

fn parse_ports(text: &str) -> Option<Vec<u16>> {
    let mut ports = vec![];
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last {
            return None;
        }
        ports.extend(first..=last);
    }
    Some(ports)
}

async fn listen(place: &Place) -> Result<TcpListener, LaunchError> {
    let mut last = None;
    for port in &place.ports {
        match TcpListener::bind((place.host.as_str(), *port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(not_listening(place, &last.map(|e| e.to_string()).unwrap_or_default()))
}

fn not_listening(place: &Place, reason: &str) -> LaunchError {
    let ports: Vec<String> = place.ports.iter().map(u16::to_string).collect();
    LaunchError::Listen {
        host: place.host.clone(),
        ports: ports.join(" or "),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().copied().collect()
    }

    #[test]
    fn reporters_are_found_under_any_name() {
        let class = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory";
        let one = |host: &str, ports: &[u16]| {
            BTreeSet::from([Place {
                host: host.to_owned(),
                ports: ports.to_vec(),
            }])
        };
        assert_eq!(places(&options(&[])).unwrap(), BTreeSet::new());
        let set = options(&[("metrics.reporter.prom.port", "9300-9301, 9400")]);
        assert_eq!(places(&set).unwrap(), one("127.0.0.1", &[9300, 9301, 9400]));
        let set = options(&[
            ("metrics.reporters", "p"),
            ("metrics.reporter.p.factory.class", class),
            ("metrics.reporter.q.port", "1"),
        ]);
        assert_eq!(places(&set).unwrap(), one("127.0.0.1", &[9249]));
        let set = options(&[
            ("metrics.reporter.x.port", "9999"),
            ("metrics.reporter.x.host", "0.0.0.0"),
        ]);
        assert_eq!(places(&set).unwrap(), one("0.0.0.0", &[9999]));
        let wrong = places(&options(&[("metrics.reporter.prom.port", "9260-9249")]))
            .unwrap_err()
            .to_string();
        assert!(wrong.contains("'9260-9249'") && wrong.contains("9249-9260"), "{wrong}");
    }

    #[test]
    fn pages_are_merged_by_name() {
        let pages = [
            "# TYPE a gauge\na{j=\"1\"} 1\n# TYPE b gauge\nb 2\n",
            "# TYPE a gauge\na{j=\"2\"} 3\n",
        ];
        let merged = merge(pages.iter().map(|p| (*p).to_owned()).collect());
        assert_eq!(
            merged,
            "# TYPE a gauge\na{j=\"1\"} 1\na{j=\"2\"} 3\n# TYPE b gauge\nb 2\n"
        );
    }
}
