import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.RichFlatMapFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.state.*;
import org.apache.flink.api.common.typeinfo.*;
import org.apache.flink.api.connector.sink2.*;
import org.apache.flink.api.java.tuple.*;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.datastream.*;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.util.Collector;

/**
 * The jobs of crates/flott/benches/peer.rs as DataStream programs of Apache Flink, in one process (its mini cluster, parallelism 1, object reuse on):
 * java -cp 'CLASSES:FLINK_LIB/*:FLINK_EXTRA/*' StreamJobs CASE EVENTS WARMUP [KEY=VALUE...]
 * The job runs once over WARMUP events, so that the compiler is done, then over EVENTS. Prints one JSON line, with CPU seconds of the whole process
 * (of the second run) and a sum that stands for the results. Keys: kafka, topic (instead of the generator), keys, span (its tenth root, less one), hold (after so many clicks
 * says so and makes but a few thousand a second), until=first (ends with the first result, and tells when that came); those with a dot are Flink's options.
 */
public final class StreamJobs {
  static final AtomicLong RESULT = new AtomicLong();
  static boolean isUntilFirst;
  static long since;

  /** Adds up what a stream gives, and forgets it. */
  static final class AddUp implements Sink<Long> {
    @Override
    public SinkWriter<Long> createWriter(WriterInitContext context) {
      return new SinkWriter<>() {
        long sum;

        @Override
        public void write(Long value, Context context) {
          if (isUntilFirst) {
            System.out.printf(Locale.ROOT, "{\"first_s\": %.3f}%n", (System.nanoTime() - since) / 1e9);
            System.out.flush();
            Runtime.getRuntime().halt(0);
          }
          sum += value;
        }

        @Override
        public void flush(boolean endOfInput) { RESULT.addAndGet(sum); sum = 0; }

        @Override
        public void close() { RESULT.addAndGet(sum); sum = 0; }
      };
    }
  }

  static Tuple3<Long, Long, Long> reading(long number) {
    long key = number * 0x9e3779b97f4a7c15L >>> 32;
    return Tuple3.of(key % 10_000, number % 17, number / 1000);
  }

  static final String[] WORDS = {"stream", "table", "window", "key", "state", "timer", "barrier", "source", "sink", "watermark", "slot", "event", "time", "late", "join", "checkpoint"};

  static String line(long number) {
    long random = number * 0x9e3779b97f4a7c15L | 1;
    StringBuilder line = new StringBuilder(96);
    for (int place = 0; place < 8; place++) {
      random ^= random << 13;
      random ^= random >>> 7;
      random ^= random << 17;
      if (place > 0) line.append(' ');
      line.append(WORDS[(int) Long.remainderUnsigned(random, 16)]);
      if ((random & 0x300) != 0) {
        line.append((char) ('a' + (random >>> 16 & 0xff) % 16));
        line.append((char) ('a' + (random >>> 24 & 0xff) % 16));
      }
    }
    return line.toString();
  }

  /** A click of one of `keys` users: Zipf with exponent 0.9 by inversion of the continuous distribution, in operations that are the same everywhere. */
  static Tuple2<Long, Long> skewed(long number, long keys, double span) {
    double uniform = (mix(number) >>> 11) * 0x1p-53;
    double t = 1 + uniform * span;
    double t2 = t * t, t4 = t2 * t2, t8 = t4 * t4;
    return Tuple2.of(Math.min((long) (t8 * t2), keys), number % 17);
  }

  static Tuple2<Long, Long> even(long number, long keys) {
    return Tuple2.of(Long.remainderUnsigned(mix(number), keys), number % 17);
  }

  static long mix(long n) {
    n = (n ^ n >>> 33) * 0xff51afd7ed558ccdL;
    n = (n ^ n >>> 33) * 0xc4ceb9fe1a85ec53L;
    return n ^ n >>> 33;
  }

  /** Behind so many clicks little more comes: for a state of a known size. */
  static void holdAt(long number, long hold) throws InterruptedException {
    if (number == hold) System.err.println("held");
    if (number >= hold) Thread.sleep(0, 100_000);
  }

  /** Running clicks of a user; what comes out is by how much the square of its sum grew, so that the total does not hang on the order. */
  static final class Clicks<K> extends RichFlatMapFunction<Tuple2<K, Long>, Long> {
    transient ValueState<Long> count;

    @Override
    public void open(OpenContext context) { count = getRuntimeContext().getState(new ValueStateDescriptor<>("clickCount", Types.LONG)); }

    @Override
    public void flatMap(Tuple2<K, Long> click, Collector<Long> out) throws IOException {
      Long before = count.value();
      long was = before == null ? 0 : before;
      long now = was + click.f1;
      count.update(now);
      out.collect(now * now - was * was);
    }
  }

  static DataStream<Long> describe(StreamExecutionEnvironment env, String job, long events, Map<String, String> options) {
    DataStream<String> lines = null;
    if (options.containsKey("kafka")) {
      KafkaSource<String> source = KafkaSource.<String>builder().setBootstrapServers(options.get("kafka")).setTopics(options.get("topic")).setStartingOffsets(OffsetsInitializer.earliest())
          .setBounded(OffsetsInitializer.latest()).setValueOnlyDeserializer(new SimpleStringSchema()).build();
      lines = env.fromSource(source, WatermarkStrategy.noWatermarks(), "kafka");
    }
    switch (job) {
      case "words": {
        if (lines == null) lines = env.fromSource(new DataGeneratorSource<>(StreamJobs::line, events, Types.STRING), WatermarkStrategy.noWatermarks(), "generator");
        return lines.flatMap((String line, Collector<Tuple2<String, Long>> out) -> {
          for (String word : line.split(" ")) out.collect(Tuple2.of(word, 1L));
        }).returns(Types.TUPLE(Types.STRING, Types.LONG)).keyBy(count -> count.f0).sum(1).map(count -> count.f1 + count.f0.length()).returns(Types.LONG);
      }
      case "clicks": {
        if (lines == null)
          return env.fromSource(new DataGeneratorSource<>(StreamJobs::reading, events, Types.TUPLE(Types.LONG, Types.LONG, Types.LONG)), WatermarkStrategy.noWatermarks(), "generator")
              .map(click -> Tuple2.of(click.f0, click.f1)).returns(Types.TUPLE(Types.LONG, Types.LONG)).keyBy(click -> click.f0).flatMap(new Clicks<Long>());
        return lines.map(line -> {
          String[] fields = line.split(",");
          return Tuple2.of(fields[1], Long.parseLong(fields[2]));
        }).returns(Types.TUPLE(Types.STRING, Types.LONG)).keyBy(click -> click.f0).flatMap(new Clicks<String>());
      }
      case "window-sum":
        return env.fromSource(new DataGeneratorSource<>(StreamJobs::reading, events, Types.TUPLE(Types.LONG, Types.LONG, Types.LONG)), WatermarkStrategy.noWatermarks(), "generator")
            .map(r -> Tuple3.of(r.f0, r.f1 * 3 + 1, r.f2)).returns(Types.TUPLE(Types.LONG, Types.LONG, Types.LONG)).filter(r -> r.f1 % 5 != 0)
            .assignTimestampsAndWatermarks(WatermarkStrategy.<Tuple3<Long, Long, Long>>forMonotonousTimestamps().withTimestampAssigner((r, t) -> r.f2))
            .keyBy(r -> r.f0).window(TumblingEventTimeWindows.of(Duration.ofSeconds(1))).sum(1).map(r -> (r.f0 + 1) * r.f1).returns(Types.LONG);
      case "zipf":
      case "uniform": {
        long keys = Long.parseLong(options.getOrDefault("keys", "20000000"));
        double span = Double.parseDouble(options.getOrDefault("span", "0"));
        boolean isSkewed = job.equals("zipf");
        long hold = Long.parseLong(options.getOrDefault("hold", String.valueOf(Long.MAX_VALUE)));
        return env.fromSource(new DataGeneratorSource<>(n -> {
          holdAt(n, hold);
          return isSkewed ? skewed(n, keys, span) : even(n, keys);
        }, events, Types.TUPLE(Types.LONG, Types.LONG)), WatermarkStrategy.noWatermarks(), "generator")
            .keyBy(click -> click.f0).flatMap(new Clicks<Long>());
      }
      default:
        throw new IllegalArgumentException("no such case: " + job);
    }
  }

  static double cpu() {
    return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime() / 1e9;
  }

  static long peakMb() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) if (line.startsWith("VmHWM:")) return Long.parseLong(line.replaceAll("\\D", "")) / 1024;
    return 0;
  }

  static double run(String job, long events, Map<String, String> options) throws Exception {
    Configuration conf = new Configuration();
    options.forEach((key, value) -> { if (key.contains(".")) conf.setString(key, value); });
    StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1, conf);
    env.getConfig().enableObjectReuse();
    RESULT.set(0);
    describe(env, job, events, options).sinkTo(new AddUp()).name("sum");
    since = System.nanoTime();
    isUntilFirst = options.containsKey("until");
    env.execute(job);
    return (System.nanoTime() - since) / 1e9;
  }

  public static void main(String[] a) throws Exception {
    long events = Long.parseLong(a[1]), warmup = Long.parseLong(a[2]);
    Map<String, String> options = new HashMap<>();
    for (int i = 3; i < a.length; i++) options.put(a[i].substring(0, a[i].indexOf('=')), a[i].substring(a[i].indexOf('=') + 1));
    if (warmup > 0) run(a[0], warmup, options);
    double before = cpu();
    double wall = run(a[0], events, options);
    System.out.printf(Locale.ROOT, "{\"case\": \"%s\", \"wall_s\": %.3f, \"cpu_s\": %.3f, \"result\": %d, \"peak_mb\": %d}%n", a[0], wall, cpu() - before, RESULT.get(), peakMb());
    System.exit(0);
  }
}
