//! One or two streams without keys: process functions, co-functions, and those beside a broadcast stream.

use super::{AtHand, guarded};
use crate::broadcast::{
    BroadcastContext, BroadcastDeclarations, BroadcastProcessFunction, BroadcastStates, OpenBroadcastContext,
};
use crate::connect::{CoFlatMapFunction, CoMapFunction, CoProcessFunction};
use crate::function::{BoxError, Collector, RuntimeContext};
use crate::process::{Context, ProcessFunction};
use crate::records::{Data, Records};
use crate::side::Sides;
use crate::state::operator::OperatorStates;
use flott_core::clock::SharedClock;
use flott_core::time::NO_WATERMARK;
use flott_core::{Batch, CheckpointId, EventTime};
use flott_runtime::{Flow, Operator, OperatorContext, Output, TaskError};
use flott_state::OperatorSnapshot;

/// What is done with the records of the first and of the second input.
pub(crate) trait ConnectedLogic<A, B>: Clone + Send + Sync + 'static {
    type Out: Data;
    /// Whether there can be broadcast state.
    const KEEPS_STATE: bool = false;

    fn open(&mut self, runtime: &RuntimeContext, broadcast: &mut BroadcastDeclarations) -> Result<(), BoxError>;
    fn first(&mut self, value: A, ctx: &mut Context<'_, Self::Out>) -> Result<(), BoxError>;
    fn second(&mut self, value: B, ctx: &mut Context<'_, Self::Out>) -> Result<(), BoxError>;
    fn close(&mut self) -> Result<(), BoxError>;

    crate::checkpoint_hooks::checkpoint_hooks!();
}

/// A function of one input.
#[derive(Clone)]
pub(crate) struct One<F>(pub F);

impl<A, F: ProcessFunction<A>> ConnectedLogic<A, ()> for One<F> {
    type Out = F::Out;

    fn open(&mut self, runtime: &RuntimeContext, _: &mut BroadcastDeclarations) -> Result<(), BoxError> {
        self.0.open(runtime)
    }
    #[inline]
    fn first(&mut self, value: A, ctx: &mut Context<'_, F::Out>) -> Result<(), BoxError> {
        self.0.process_element(value, ctx)
    }
    fn second(&mut self, (): (), _: &mut Context<'_, F::Out>) -> Result<(), BoxError> {
        Ok(())
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A user's [`CoProcessFunction`].
#[derive(Clone)]
pub(crate) struct Two<F>(pub F);

impl<A, B, F: CoProcessFunction<A, B>> ConnectedLogic<A, B> for Two<F> {
    type Out = F::Out;

    fn open(&mut self, runtime: &RuntimeContext, _: &mut BroadcastDeclarations) -> Result<(), BoxError> {
        self.0.open(runtime)
    }
    #[inline]
    fn first(&mut self, value: A, ctx: &mut Context<'_, F::Out>) -> Result<(), BoxError> {
        self.0.process_element1(value, ctx)
    }
    #[inline]
    fn second(&mut self, value: B, ctx: &mut Context<'_, F::Out>) -> Result<(), BoxError> {
        self.0.process_element2(value, ctx)
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A user's [`CoMapFunction`].
#[derive(Clone)]
pub(crate) struct CoMapBy<F>(pub F);

impl<A, B, F: CoMapFunction<A, B>> ConnectedLogic<A, B> for CoMapBy<F>
where
    F::Out: Data,
{
    type Out = F::Out;

    fn open(&mut self, runtime: &RuntimeContext, _: &mut BroadcastDeclarations) -> Result<(), BoxError> {
        self.0.open(runtime)
    }
    #[inline]
    fn first(&mut self, value: A, ctx: &mut Context<'_, F::Out>) -> Result<(), BoxError> {
        ctx.collect(self.0.map1(value)?);
        Ok(())
    }
    #[inline]
    fn second(&mut self, value: B, ctx: &mut Context<'_, F::Out>) -> Result<(), BoxError> {
        ctx.collect(self.0.map2(value)?);
        Ok(())
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A user's [`CoFlatMapFunction`].
#[derive(Clone)]
pub(crate) struct CoFlatMapBy<F>(pub F);

impl<A, B, F: CoFlatMapFunction<A, B>> ConnectedLogic<A, B> for CoFlatMapBy<F>
where
    F::Out: Data,
{
    type Out = F::Out;

    fn open(&mut self, runtime: &RuntimeContext, _: &mut BroadcastDeclarations) -> Result<(), BoxError> {
        self.0.open(runtime)
    }
    #[inline]
    fn first(&mut self, value: A, ctx: &mut Context<'_, F::Out>) -> Result<(), BoxError> {
        self.0.flat_map1(value, ctx.collector)
    }
    #[inline]
    fn second(&mut self, value: B, ctx: &mut Context<'_, F::Out>) -> Result<(), BoxError> {
        self.0.flat_map2(value, ctx.collector)
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// A user's [`BroadcastProcessFunction`]: the second input is the broadcast one.
#[derive(Clone)]
pub(crate) struct Broadcasting<F>(pub F);

impl<A, B, F: BroadcastProcessFunction<A, B>> ConnectedLogic<A, B> for Broadcasting<F> {
    type Out = F::Out;
    const KEEPS_STATE: bool = true;

    fn open(&mut self, runtime: &RuntimeContext, broadcast: &mut BroadcastDeclarations) -> Result<(), BoxError> {
        self.0.open(&mut OpenBroadcastContext { runtime, broadcast })
    }
    #[inline]
    fn first(&mut self, value: A, ctx: &mut Context<'_, F::Out>) -> Result<(), BoxError> {
        self.0.process_element(value, ctx)
    }
    fn second(&mut self, value: B, ctx: &mut Context<'_, F::Out>) -> Result<(), BoxError> {
        let mut ctx = BroadcastContext(Context {
            collector: ctx.collector,
            watermark: ctx.watermark,
            now_ms: ctx.now_ms,
            broadcast: ctx.broadcast,
        });
        self.0.process_broadcast_element(value, &mut ctx)
    }
    fn close(&mut self) -> Result<(), BoxError> {
        self.0.close()
    }

    crate::checkpoint_hooks::forward_checkpoint_hooks!(0);
}

/// Gives records to `code` until none is left or enough was emitted.
fn work<T: Data, U>(
    at_hand: &mut AtHand<T>,
    mut ctx: Context<'_, U>,
    mut code: impl FnMut(T, &mut Context<'_, U>) -> Result<(), BoxError>,
) -> Result<(), TaskError> {
    at_hand.guard(|at_hand| {
        while !ctx.collector.is_full() {
            let Some((value, time)) = at_hand.next() else { break };
            ctx.collector.time = time;
            code(value, &mut ctx)?;
        }
        Ok(())
    })
}

/// The operator around a [`ConnectedLogic`].
pub(crate) struct Connected<A, B, L: ConnectedLogic<A, B>> {
    logic: L,
    first: AtHand<A>,
    second: AtHand<B>,
    collector: Collector<L::Out>,
    broadcast: BroadcastStates,
    lists: OperatorStates,
    watermark: EventTime,
    clock: Option<SharedClock>,
}

impl<A: Data, B: Data, L: ConnectedLogic<A, B>> Connected<A, B, L> {
    pub(crate) fn new(logic: L, sides: Sides) -> Self {
        Self {
            logic,
            first: AtHand::new(),
            second: AtHand::new(),
            collector: Collector::with_sides(sides),
            broadcast: BroadcastStates::default(),
            lists: OperatorStates::default(),
            watermark: NO_WATERMARK,
            clock: None,
        }
    }
}

impl<A: Data, B: Data, L: ConnectedLogic<A, B>> Operator for Connected<A, B, L> {
    fn open(&mut self, ctx: &mut OperatorContext) -> Result<(), TaskError> {
        let mut broadcast = BroadcastDeclarations::default();
        let runtime = RuntimeContext::with_states(ctx, &self.lists);
        guarded("open", || self.logic.open(&runtime, &mut broadcast))?;
        self.broadcast = broadcast.open(ctx)?;
        self.lists.restore(ctx)?;
        self.clock = Some(ctx.clock.clone());
        Ok(())
    }

    fn process(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<Flow, TaskError> {
        match input {
            0 => self.first.take(Records::from_batch(batch)?),
            _ => self.second.take(Records::from_batch(batch)?),
        }
        self.resume(out)
    }

    fn resume(&mut self, out: &mut Output) -> Result<Flow, TaskError> {
        let logic = &mut self.logic;
        let ctx = Context {
            collector: &mut self.collector,
            watermark: self.watermark,
            now_ms: self.clock.as_ref().map_or(0, |c| c.now_ms()),
            broadcast: &mut self.broadcast,
        };
        match self.first.len() {
            0 => work(&mut self.second, ctx, |value, ctx| logic.second(value, ctx))?,
            _ => work(&mut self.first, ctx, |value, ctx| logic.first(value, ctx))?,
        }
        self.collector.emit(out);
        Ok(match self.first.len() + self.second.len() {
            0 => Flow::Done,
            _ => Flow::More,
        })
    }

    fn on_watermark(&mut self, watermark: EventTime, _out: &mut Output) -> Result<Flow, TaskError> {
        self.watermark = watermark;
        Ok(Flow::Done)
    }

    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<OperatorSnapshot, TaskError> {
        guarded("snapshot_state", || self.logic.snapshot_state(checkpoint))?;
        let mut operator_state = self.broadcast.snapshot()?;
        operator_state.extend(self.lists.snapshot()?);
        Ok(OperatorSnapshot {
            operator_state,
            ..OperatorSnapshot::default()
        })
    }

    fn checkpoint_complete(&mut self, checkpoint: CheckpointId) {
        self.logic.notify_checkpoint_complete(checkpoint);
    }

    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        self.logic.notify_checkpoint_aborted(checkpoint);
    }

    fn close(&mut self) -> Result<(), TaskError> {
        guarded("close", || self.logic.close())
    }
}
