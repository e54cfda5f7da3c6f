//! TaskManagers. They are no JVMs: what Flink splits into heaps and segments is one memory here, told as managed; its parts are 0.

use crate::app::App;
use crate::error::{Answer, Json, RestError};
use axum::extract::{Path, State};
use flott_cluster::resources::TaskManagerInfo;
use serde_json::{Map, Value, json};

/// Megabytes, in which Flink tells resources.
const MIB: u64 = 1 << 20;

/// `GET /taskmanagers`
pub(crate) async fn list(State(app): State<App>) -> Answer {
    let managers = app.dispatcher.task_managers();
    Ok(Json::ok(
        json!({ "taskmanagers": managers.iter().map(summary).collect::<Vec<_>>() }),
    ))
}

/// `GET /taskmanagers/:id`
pub(crate) async fn details(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let managers = app.dispatcher.task_managers();
    let Some(manager) = managers.iter().find(|manager| manager.id == id) else {
        return Err(RestError::not_found(format!("Could not find TaskExecutor {id}.")));
    };
    let mut answer = summary(manager);
    answer["metrics"] = metrics();
    let slot = resources(manager, 1.0 / manager.slots.max(1) as f64);
    let allocated = manager.allocated.iter();
    answer["allocatedSlots"] = allocated.map(|job| json!({ "jobId": job, "resource": slot })).collect();
    Ok(Json::ok(answer))
}

fn summary(manager: &TaskManagerInfo) -> Value {
    let free = manager.free_slots as f64 / manager.slots.max(1) as f64;
    json!({
        "id": manager.id,
        "path": manager.address,
        "dataPort": manager.data_port,
        "jmxPort": -1,
        // A point in time in spite of its name.
        "timeSinceLastHeartbeat": manager.last_heartbeat_ms,
        "slotsNumber": manager.slots,
        "freeSlots": manager.free_slots,
        "totalResource": resources(manager, 1.0),
        "freeResource": resources(manager, free),
        "hardware": {
            "cpuCores": manager.cpu_cores,
            "physicalMemory": manager.memory_bytes,
            "freeMemory": manager.memory_bytes.saturating_sub(manager.used_bytes),
            "managedMemory": manager.memory_bytes,
        },
        "memoryConfiguration": {
            "frameworkHeap": 0,
            "taskHeap": 0,
            "frameworkOffHeap": 0,
            "taskOffHeap": 0,
            "networkMemory": 0,
            "managedMemory": manager.memory_bytes,
            "jvmMetaspace": 0,
            "jvmOverhead": 0,
            "totalFlinkMemory": manager.memory_bytes,
            "totalProcessMemory": manager.memory_bytes,
        },
    })
}

/// What a part of the TaskManager has: slots share its processors and memory evenly.
fn resources(manager: &TaskManagerInfo, part: f64) -> Value {
    json!({
        "cpuCores": manager.cpu_cores as f64 * part,
        "taskHeapMemory": 0,
        "taskOffHeapMemory": 0,
        "managedMemory": ((manager.memory_bytes / MIB) as f64 * part) as u64,
        "networkMemory": 0,
        "extendedResources": {},
    })
}

/// The metrics of a JVM, which there is not.
fn metrics() -> Value {
    let zeros = [
        "heapUsed",
        "heapCommitted",
        "heapMax",
        "nonHeapUsed",
        "nonHeapCommitted",
        "nonHeapMax",
        "directCount",
        "directUsed",
        "directMax",
        "mappedCount",
        "mappedUsed",
        "mappedMax",
        "nettyShuffleMemorySegmentsAvailable",
        "nettyShuffleMemorySegmentsUsed",
        "nettyShuffleMemorySegmentsTotal",
        "nettyShuffleMemoryAvailable",
        "nettyShuffleMemoryUsed",
        "nettyShuffleMemoryTotal",
    ];
    let mut metrics: Map<String, Value> = zeros.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
    metrics.insert("garbageCollectors".to_owned(), json!([]));
    Value::Object(metrics)
}
