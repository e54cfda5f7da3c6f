import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Asks Flink for type and value of SQL expressions over constants: one file of expressions in, a line each out
 * (expression, type, value as text, between tabs; `refused` and `fails` where there is none).
 *
 * <p>ExpressionTable FILE [key=value...] (record_expressions.sh): many expressions go into one job; a job that
 * fails is cut in two until the failing expression is alone. Without a file: what SHOW FUNCTIONS lists.
 */
public class ExpressionTable {
    static TableEnvironment env;

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        env = TableEnvironment.create(EnvironmentSettings.inBatchMode());
        env.getConfig().set("table.local-time-zone", "UTC");
        env.getConfig().set("parallelism.default", "1");
        if (args.length == 0) {
            for (String name : env.listFunctions()) out.println(name);
            return;
        }
        for (int i = 1; i < args.length; i++) {
            String[] kv = args[i].split("=", 2);
            env.getConfig().set(kv[0], kv[1]);
        }
        List<String> exprs = new ArrayList<>();
        List<String> types = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String expr = line.contains("\t") ? line.substring(0, line.indexOf('\t')) : line;
            if (expr.isBlank() || expr.startsWith("#")) continue;
            exprs.add(expr);
            String type;
            try {
                type = env.sqlQuery("SELECT " + expr + " AS x").getResolvedSchema().getColumnDataTypes().get(0).getLogicalType().asSummaryString();
            } catch (Throwable t) {
                type = "refused";
                Throwable c = t;
                while (c.getCause() != null) c = c.getCause();
                System.err.println("refused\t" + expr + "\t" + String.valueOf(c.getMessage()).replace('\n', ' '));
            }
            types.add(type);
        }
        List<Integer> asked = new ArrayList<>();
        for (int i = 0; i < exprs.size(); i++) if (!types.get(i).equals("refused")) asked.add(i);
        String[] values = new String[exprs.size()];
        for (int i = 0; i < asked.size(); i += 40) ask(exprs, asked.subList(i, Math.min(i + 40, asked.size())), values);
        for (int i = 0; i < exprs.size(); i++) {
            out.println(exprs.get(i) + "\t" + types.get(i) + "\t" + (values[i] == null ? "" : values[i]));
        }
    }

    static void ask(List<String> exprs, List<Integer> which, String[] values) {
        StringBuilder sql = new StringBuilder("SELECT ");
        for (int k = 0; k < which.size(); k++) {
            sql.append(k > 0 ? ", " : "").append("CAST(").append(exprs.get(which.get(k))).append(" AS STRING) AS c").append(k);
        }
        try (CloseableIterator<Row> rows = env.sqlQuery(sql.toString()).execute().collect()) {
            Row row = rows.next();
            for (int k = 0; k < which.size(); k++) {
                Object v = row.getField(k);
                values[which.get(k)] = v == null ? "NULL" : "'" + String.valueOf(v).replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + "'";
            }
        } catch (Throwable t) {
            if (which.size() == 1) {
                values[which.get(0)] = "fails";
                Throwable c = t;
                while (c.getCause() != null) c = c.getCause();
                System.err.println("fails\t" + exprs.get(which.get(0)) + "\t" + String.valueOf(c.getMessage()).replace('\n', ' '));
                return;
            }
            int half = which.size() / 2;
            ask(exprs, which.subList(0, half), values);
            ask(exprs, which.subList(half, which.size()), values);
        }
    }
}
