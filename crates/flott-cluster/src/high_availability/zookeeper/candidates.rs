//! The candidates in ZooKeeper: their places, in order, and what is written there.

use super::session::{Fault, Session, Watch};
use super::settings::Settings;
use crate::high_availability::{Candidate, Leader};
use bytes::Bytes;
use flott_core::JobId;
use futures::future::{OptionFuture, pending};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Between two looks for a place that cannot be asked for.
const LOOK: Duration = Duration::from_secs(1);

/// The folder of the candidates of a cluster.
pub struct Candidates {
    session: Arc<Session>,
    folder: String,
}

/// What is written to a place.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    #[serde(flatten)]
    pub at: Candidate,
    /// Of its leadership, when it has begun.
    epoch: Option<u64>,
}

/// A place among the candidates, given up when it is dropped.
pub struct Place {
    pub session: Arc<Session>,
    path: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let (session, path) = (self.session.clone(), self.path.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(fault) = session.delete(&path).await {
                    tracing::debug!(path, %fault, "a place among the candidates ends with its session");
                }
            });
        }
    }
}

/// What tells when another may lead.
pub struct Changes {
    candidates: Watch,
    first: Option<Watch>,
}

impl Changes {
    /// Waits for it.
    pub async fn come(self) {
        let first = async {
            match OptionFuture::from(self.first.map(Watch::changed)).await {
                Some(()) => {}
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.candidates.changed() => {}
            () = first => {}
        }
    }
}

impl Candidates {
    /// Those of the cluster that the settings name. Needs Tokio.
    pub fn new(settings: &Arc<Settings>) -> Self {
        Self {
            session: Arc::new(Session::start(settings.clone())),
            folder: format!("{}/leader/candidates", settings.folder),
        }
    }

    fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Takes a place behind all others.
    pub async fn join(&self, candidate: &Candidate) -> Result<Place, Fault> {
        for (end, _) in self.folder.match_indices('/').skip(1) {
            self.session.ensure(&self.folder[..end]).await?;
        }
        self.session.ensure(&self.folder).await?;
        // What broke off while it was made may be there, and what the process had before that listened here; both would hold up everybody.
        let own = own_prefix(candidate);
        for name in self.session.children(&self.folder).await? {
            if name.starts_with(&own) {
                self.delete(&name).await?;
            }
        }
        let path = self
            .session
            .create_place(&self.path_of(&own), &entry(candidate, None))
            .await?;
        Ok(Place {
            session: self.session.clone(),
            path,
        })
    }

    /// The names of the places, the first one first.
    pub async fn in_order(&self) -> Result<Vec<String>, Fault> {
        Ok(in_order(self.session.children(&self.folder).await?))
    }

    /// Watches a place; `None`: it is gone.
    pub async fn watch(&self, name: &str) -> Result<Option<Watch>, Fault> {
        self.session.watch_existence(&self.path_of(name)).await
    }

    /// Frees a place.
    pub async fn delete(&self, name: &str) -> Result<(), Fault> {
        self.session.delete(&self.path_of(name)).await
    }

    /// What is written to a place; `None`: it is gone.
    pub async fn entry_of(&self, name: &str) -> Result<Option<Entry>, Fault> {
        let path = self.path_of(name);
        match self.session.data(&path).await {
            Ok(content) => Ok(Some(read_entry(&path, &content)?)),
            Err(Fault::NoNode(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Who leads, as one server knows it, and what tells when that may be otherwise.
    pub async fn watch_leader(&self) -> Result<(Option<Leader>, Changes), Fault> {
        let (names, candidates) = self.session.watch_children(&self.folder).await?;
        let mut changes = Changes {
            candidates,
            first: None,
        };
        let Some(first) = in_order(names).into_iter().next() else {
            return Ok((None, changes));
        };
        let path = self.path_of(&first);
        let leader = match self.session.watch_data(&path).await {
            Ok((content, watch)) => {
                changes.first = Some(watch);
                read_entry(&path, &content)?.leader()
            }
            // The other watch tells, or has told already.
            Err(Fault::NoNode(_)) => None,
            Err(fault) => return Err(fault),
        };
        Ok((leader, changes))
    }

    /// Who leads, by all that has been done before.
    pub async fn leader(&self) -> Result<Option<Leader>, Fault> {
        // A server may be behind the others.
        self.session.sync(&self.folder).await?;
        loop {
            let names = match self.in_order().await {
                // No JobManager has been here yet.
                Err(Fault::NoNode(_)) => vec![],
                names => names?,
            };
            let Some(first) = names.first() else {
                return Ok(None);
            };
            if let Some(entry) = self.entry_of(first).await? {
                return Ok(entry.leader());
            }
        }
    }
}

impl Place {
    /// Whether it has the name of a place.
    pub fn is(&self, name: &str) -> bool {
        self.path.ends_with(name)
    }

    /// Tells everybody who leads since now; it does only if this succeeds.
    pub async fn publish(&self, leader: &Leader) -> Result<(), Fault> {
        let content = entry(&leader.at, Some(leader.epoch));
        self.session.set_data(&self.path, &content).await
    }

    /// Waits until it is there no more. What cannot be asked has not gone: the state of the session tells.
    pub async fn is_gone(&self) {
        loop {
            match self.session.watch_existence(&self.path).await {
                Ok(Some(watch)) => watch.changed().await,
                Ok(None) => return,
                Err(_) => sleep(LOOK).await,
            }
        }
    }
}

impl Entry {
    /// Who leads, if this is of the first place.
    fn leader(self) -> Option<Leader> {
        let Self { at, epoch } = self;
        epoch.map(|epoch| Leader { epoch, at })
    }
}

/// What the names of a JobManager's places begin with. With the machine's name, for several that say the same address are not one.
fn own_prefix(candidate: &Candidate) -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let id = JobId::of(&format!("{}/{}", host.trim(), candidate.rpc_address));
    format!("{id}-")
}

fn entry(at: &Candidate, epoch: Option<u64>) -> Vec<u8> {
    let Candidate {
        rpc_address,
        rest_address,
    } = at;
    let entry = serde_json::json!({ "rpc_address": rpc_address, "rest_address": rest_address, "epoch": epoch });
    entry.to_string().into_bytes()
}

fn read_entry(path: &str, content: &Bytes) -> Result<Entry, Fault> {
    serde_json::from_slice(content).map_err(|error| Fault::Foreign {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

/// The names of places by their numbers; others do not count.
fn in_order(names: Vec<String>) -> Vec<String> {
    let numbered = |name: String| Some((name.rsplit_once('-')?.1.parse::<u32>().ok()?, name));
    let mut places: Vec<(u32, String)> = names.into_iter().filter_map(numbered).collect();
    places.sort_unstable();
    places.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate() -> Candidate {
        Candidate {
            rpc_address: "a:1".to_owned(),
            rest_address: "a:2".to_owned(),
        }
    }

    #[test]
    fn places_are_in_the_order_of_their_numbers() {
        let names = ["ff-0000000010", "notes", "aa-0000000011", "00-0000000009", "aa-x"];
        let queue = in_order(names.map(str::to_owned).to_vec());
        assert_eq!(queue, ["00-0000000009", "ff-0000000010", "aa-0000000011"]);
    }

    #[test]
    fn a_place_tells_who_leads_since_it_does() {
        let read = |epoch| read_entry("/a", &entry(&candidate(), epoch).into()).unwrap().leader();
        assert_eq!(read(None), None);
        let at = candidate();
        assert_eq!(read(Some(3)), Some(Leader { epoch: 3, at }));
        let error = read_entry("/a", &Bytes::from_static(b"127.0.0.1"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/a") && error.contains("high-availability.cluster-id"),
            "{error}"
        );
    }

    #[test]
    fn a_process_knows_the_places_of_who_listened_there_before() {
        let mut other = candidate();
        assert_eq!(own_prefix(&other), own_prefix(&candidate()));
        other.rpc_address = "a:3".to_owned();
        assert_ne!(own_prefix(&other), own_prefix(&candidate()));
    }
}
