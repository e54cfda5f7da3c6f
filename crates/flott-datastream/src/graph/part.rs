//! What lies between streams and the outlets that read them, which a [`Planner`](crate::planned::Planner) plans: asked until both sides
//! agree on how parallel they are.

use super::{Defaults, Graph, Origin, ProgramError};
use crate::planned::{Outlet, Part, StreamRef, Wanted, WantedOutlet};
use flott_core::Options;
use flott_plan::{NodeId, Partitioning};
use std::collections::{BTreeSet, HashMap};

impl Graph {
    /// Asks the planner for what lies before the outlets of a job, and adds what that reads to the job.
    pub(super) fn part(
        &self,
        job: &mut BTreeSet<NodeId>,
        statements: &[usize],
        options: &Options,
        defaults: &Defaults,
    ) -> Result<Option<Part>, ProgramError> {
        let mut options = options.clone();
        options.set("parallelism.default", defaults.parallelism.to_string());
        if let Some(max_parallelism) = defaults.max_parallelism {
            options.set("pipeline.max-parallelism", max_parallelism.to_string());
        }
        // What is planned may be read by streams that are planned over again; how parallel those are is known after a round.
        let mut of_outlets = HashMap::new();
        loop {
            let outlets = job.iter().copied().filter(|node| self.nodes[*node].is_outlet);
            let outlets: Vec<WantedOutlet> = outlets
                .map(|node| WantedOutlet {
                    outlet: Outlet(node),
                    uid: self.nodes[node].uid.clone(),
                    parallelism: self.nodes[node].parallelism,
                })
                .collect();
            if outlets.is_empty() && statements.is_empty() {
                return Ok(None);
            }
            let planner = self.planner.as_ref().ok_or(ProgramError::NoPlanner)?;
            let wanted = Wanted {
                outlets: &outlets,
                statements,
                options: &options,
                parallelism_of: &|stream| self.parallelism_of(stream, &of_outlets, defaults),
            };
            let mut part = planner.plan(&wanted).map_err(ProgramError::Part)?;
            let nodes_before = job.len();
            for inlet in &part.inlets {
                self.add_upstream(job, inlet.stream.0.iter().map(|origin| origin.node));
            }
            let planned = part.outlets.iter();
            let planned: HashMap<NodeId, usize> = planned
                .map(|(node, outlet)| (outlet.0, part.plan.nodes[*node].parallelism))
                .collect();
            let is_settled = part.inlets.iter().all(|inlet| {
                let now = self.parallelism_of(&inlet.stream, &planned, defaults);
                now == self.parallelism_of(&inlet.stream, &of_outlets, defaults)
            });
            of_outlets = planned;
            if is_settled && job.len() == nodes_before {
                let mut ordered = part.inlets.iter().filter(|inlet| inlet.is_ordered);
                ordered.try_for_each(|inlet| self.check_order(&inlet.stream, &of_outlets, defaults))?;
                return match part.refused.take() {
                    Some(error) => Err(ProgramError::Part(error)),
                    None => Ok(Some(part)),
                };
            }
        }
    }

    /// The operators whose records come to the reader of a stream as they are, each with its parallelism.
    fn unspread(
        &self,
        stream: &StreamRef,
        of_outlets: &HashMap<NodeId, usize>,
        defaults: &Defaults,
    ) -> Vec<(NodeId, usize)> {
        let origins = stream.0.iter();
        let unspread = origins.filter(|o| matches!(o.partitioning, None | Some(Partitioning::Forward)));
        let with_parallelism = |origin: &Origin| {
            let mut node = origin.node;
            while let Some(followed) = self.nodes[node].follows {
                node = followed;
            }
            let draft = &self.nodes[node];
            let said = draft.fixed.or(draft.parallelism);
            let planned = said.or_else(|| of_outlets.get(&node).copied());
            (origin.node, planned.unwrap_or(defaults.parallelism))
        };
        unspread.map(with_parallelism).collect()
    }

    /// How parallel an operator is that works on a stream in its place: as what makes the stream, if that is of one parallelism.
    fn parallelism_of(&self, stream: &StreamRef, of_outlets: &HashMap<NodeId, usize>, defaults: &Defaults) -> usize {
        let unspread = self.unspread(stream, of_outlets, defaults);
        let parallelism = unspread.first().map_or(defaults.parallelism, |first| first.1);
        match unspread.iter().all(|(_, other)| *other == parallelism) {
            true => parallelism,
            false => defaults.parallelism,
        }
    }

    /// That no records overtake each other on their way to the operator that works on a stream in its place.
    fn check_order(
        &self,
        stream: &StreamRef,
        of_outlets: &HashMap<NodeId, usize>,
        defaults: &Defaults,
    ) -> Result<(), ProgramError> {
        let parallelism = self.parallelism_of(stream, of_outlets, defaults);
        let unspread = self.unspread(stream, of_outlets, defaults);
        // All that one subtask reads stays in order, as does all that comes as it is.
        let broken = unspread.iter().find(|(_, own)| parallelism > 1 && *own != parallelism);
        let other = broken.and_then(|(_, own)| unspread.iter().find(|(_, other)| other != own));
        let (Some((node, own)), Some((other_node, other))) = (broken, other) else {
            return Ok(());
        };
        Err(ProgramError::UnequalChanges {
            name: self.nodes[*node].name.clone(),
            parallelism: *own,
            other: self.nodes[*other_node].name.clone(),
            other_parallelism: *other,
        })
    }
}
