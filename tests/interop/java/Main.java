import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/** Reads a delivery a line, says of each whether the snippet takes it. */
public final class Main {
    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] fields = line.split("\t");
            Map<String, List<String>> headers = Map.of(
                    "webhook-id", List.of(fields[1]),
                    "webhook-timestamp", List.of(fields[2]),
                    "webhook-signature", List.of(fields[3]));
            try {
                Verify.verify(fields[0], headers, fields[4]);
                System.out.println("good");
            } catch (Exception error) {
                System.out.println("refused " + error.getMessage());
            }
        }
    }
}
