import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main methods of Kafka's tools one after another in one process, as a JVM takes longer to start than most of
 * them take. A request on standard input is the number of words and the words, each with its length before it: the
 * class, then its arguments. The answer is the exit code, and what the tool printed with its length before it.
 */
public class Tools {
    static class Exited extends RuntimeException {}

    // Of the tool that runs: how it wanted to exit first, and how much it had printed by then. Some tools catch what
    // ends them here as a failure, and print that and exit again.
    static Integer code;
    static int printed;
    static ByteArrayOutputStream said;

    public static void main(String[] none) throws Exception {
        var in = new DataInputStream(System.in);
        var out = new DataOutputStream(new FileOutputStream(FileDescriptor.out));
        Exit.setExitProcedure((status, message) -> {
            if (code == null) {
                if (message != null) {
                    System.out.println(message);
                }
                code = status;
                printed = said.size();
            }
            throw new Exited();
        });
        while (true) {
            String[] words;
            try {
                words = new String[in.readInt()];
            } catch (EOFException e) {
                return;
            }
            for (int i = 0; i < words.length; i++) {
                words[i] = new String(in.readNBytes(in.readInt()), StandardCharsets.UTF_8);
            }
            said = new ByteArrayOutputStream();
            code = null;
            var print = new PrintStream(said, true, StandardCharsets.UTF_8);
            System.setOut(print);
            System.setErr(print);
            run(words, print);
            print.flush();
            if (code == null) {
                code = 0;
                printed = said.size();
            }
            out.writeInt(code);
            out.writeInt(printed);
            out.write(said.toByteArray(), 0, printed);
            out.flush();
        }
    }

    static void run(String[] words, PrintStream print) throws Exception {
        var args = new String[words.length - 1];
        System.arraycopy(words, 1, args, 0, args.length);
        try {
            Class.forName(words[0]).getMethod("main", String[].class).invoke(null, (Object) args);
        } catch (InvocationTargetException e) {
            if (code == null) {
                e.getCause().printStackTrace(print);
                print.flush();
                code = 1;
                printed = said.size();
            }
        }
    }
}
