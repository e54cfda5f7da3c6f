//! `/livez` and `/readyz`, which answer everybody.

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_may_ask_whether_it_lives() {
    let server = Server::start(&[("security.rest.token", "secret")]).await;
    assert_eq!(server.text("/livez").await, "ok\n");
    assert_eq!(server.text("/readyz").await, "ok\n");
    let (status, _) = server.ask("GET", "/overview", None).await;
    assert_eq!(status, 401);
}
