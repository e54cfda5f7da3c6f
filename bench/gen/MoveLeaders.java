import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;

/**
 * Move the leaders of topics from node to node, again and again, until the process is ended: each round puts another replica first and elects it.
 * java -cp 'KAFKA_LIBS/*' MoveLeaders.java BOOTSTRAP EVERY_MS TOPIC...     prints one line for each leader that has moved
 * A round in which a node is away moves what can be moved.
 */
public final class MoveLeaders {
  public static void main(String[] a) throws Exception {
    Properties p = new Properties();
    p.put("bootstrap.servers", a[0]); p.put("default.api.timeout.ms", "15000"); p.put("request.timeout.ms", "5000");
    List<String> topics = List.of(a).subList(2, a.length);
    Map<TopicPartition, Integer> before = new HashMap<>();
    try (Admin admin = Admin.create(p)) {
      for (;;) {
        try {
          Map<TopicPartition, Optional<NewPartitionReassignment>> turned = new HashMap<>();
          for (TopicDescription topic : admin.describeTopics(topics).allTopicNames().get().values())
            for (var part : topic.partitions()) {
              TopicPartition tp = new TopicPartition(topic.name(), part.partition());
              int leader = part.leader() == null ? -1 : part.leader().id();
              Integer was = before.put(tp, leader);
              if (was != null && was != leader && leader >= 0) System.out.println("moved " + tp + " from " + was + " to " + leader);
              List<Integer> order = new ArrayList<>();
              for (var node : part.replicas()) order.add(node.id());
              while (order.size() > 1 && order.get(0) == leader) Collections.rotate(order, 1);
              turned.put(tp, Optional.of(new NewPartitionReassignment(order)));
            }
          for (var one : admin.alterPartitionReassignments(turned).values().values()) settle(one);
          settle(admin.electLeaders(ElectionType.PREFERRED, turned.keySet()).all());
        } catch (ExecutionException e) {
          System.err.println("round left out: " + e.getCause());
        }
        System.out.flush();
        Thread.sleep(Long.parseLong(a[1]));
      }
    }
  }

  /** Waits for an outcome; that a node is away or the leader stands already is no failure of the whole. */
  private static void settle(org.apache.kafka.common.KafkaFuture<?> outcome) throws InterruptedException {
    try { outcome.get(); } catch (ExecutionException e) { /* the next round tries again */ }
  }
}
