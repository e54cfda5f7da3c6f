//! The parallelism of a job is asked for and changed in Flink's words.

use crate::support::{ENDLESS, Server};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_with_the_parallelism_that_is_put() {
    let server = Server::start(&[]).await;
    let options = [
        ("parallelism.default", "2"),
        ("pipeline.operator-chaining.enabled", "false"),
        ("execution.checkpointing.interval", "20 ms"),
    ];
    let job = server.run(ENDLESS, &options).await;
    // How large its state is.
    job.checkpoint().await.unwrap();
    let (path, of_job) = (
        format!("/jobs/{}/resource-requirements", job.job_id),
        format!("/jobs/{}", job.job_id),
    );
    let bounds = |lower: usize, upper: usize| json!({ "parallelism": { "lowerBound": lower, "upperBound": upper } });
    let of_all = |bounds: &Value| {
        let ids = job.graph().vertices.clone().into_iter();
        let ids = ids.map(|vertex| job.plan.nodes[vertex.nodes[0]].operator_id.to_string());
        ids.map(|id| (id, bounds.clone())).collect::<serde_json::Map<_, _>>()
    };
    assert_eq!(server.get(&path).await, Value::from(of_all(&bounds(2, 2))));
    let put = async |body: Value| server.ask("PUT", &path, Some(&body.to_string())).await;
    assert_eq!(put(of_all(&bounds(1, 3)).into()).await, (200, json!({})));
    let runs_at_3 = |answer: &Value| {
        let mut vertices = answer["vertices"].as_array().unwrap().iter();
        vertices.all(|vertex| vertex["parallelism"] == 3 && vertex["tasks"]["RUNNING"] == 3)
    };
    let details = server.until(&of_job, runs_at_3).await;
    assert_eq!(
        (&details["state"], &details["plan"]["nodes"][0]["parallelism"]),
        (&json!("RUNNING"), &json!(3))
    );
    assert_eq!(server.get(&path).await, Value::from(of_all(&bounds(1, 3))));
    let metrics = server
        .get(&format!("{of_job}/metrics?get=numRescales,numRestarts"))
        .await;
    let value = |id: &str| metrics.as_array().unwrap().iter().find(|m| m["id"] == id).unwrap()["value"].clone();
    assert_eq!((value("numRescales"), value("numRestarts")), (json!("1"), json!("0")));

    let mut unknown = of_all(&bounds(1, 2));
    unknown.insert("0".repeat(32), bounds(1, 1));
    for (body, part) in [
        (of_all(&bounds(0, 2)).into(), "lower bound is at least 1"),
        (of_all(&bounds(3, 2)).into(), "above the upper one"),
        (of_all(&bounds(1, 1_000)).into(), "max parallelism"),
        (json!({}), "bounds are missing"),
        (unknown.into(), "the job has no vertex"),
        (json!({ "nothing": bounds(1, 1) }), "vertexid"),
        (json!({ "0": { "parallelism": 3 } }), "cannot be read"),
    ] {
        let (status, answer) = put(body).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["errors"][0].as_str().unwrap().contains(part), "{answer}");
    }
    job.cancel();
    job.ended().await;
    assert_eq!(put(of_all(&bounds(1, 1)).into()).await.0, 409);
}
