// The PostgreSQL JDBC driver, then Hibernate over it.
import java.sql.*;
import java.util.*;
import java.util.logging.*;
import org.hibernate.cfg.Configuration;
import org.hibernate.exception.ConstraintViolationException;
import org.postgresql.util.PSQLException;

class DriversTest {
    static final String MIB = "0123456789abcdef".repeat(65536);
    static final String URL = "jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/t_jdbc";
    static final String INSERT = "INSERT INTO customer (email, phone) VALUES (encrypt(lower(?), 'lookup'), encrypt(?, 'pii')) RETURNING id, decrypt(email), phone";
    static final Logger LOG = Logger.getLogger("org.hibernate");
    static int count;

    static boolean ok(boolean passed, String name) {
        System.out.println((passed ? "ok " : "not ok ") + ++count + " - " + name);
        return passed;
    }

    static String brief(Object o) {
        String s = String.valueOf(o);
        return s.length() > 300 ? s.substring(0, 300) : s;
    }

    static void eq(Object got, Object want, String name) {
        if (!ok(Objects.equals(got, want), name))
            System.out.println("# got  " + brief(got) + "\n# want " + brief(want));
    }

    /** The rows, each value as getString() gives it. */
    static List<List<String>> query(PreparedStatement st, Object... args) throws SQLException {
        for (int i = 0; i < args.length; i++) {
            if (args[i] == null)
                st.setNull(i + 1, Types.VARCHAR);
            else
                st.setObject(i + 1, args[i]);
        }
        var rows = new ArrayList<List<String>>();
        try (var rs = st.executeQuery()) {
            while (rs.next()) {
                var row = new ArrayList<String>();
                for (int c = 1; c <= rs.getMetaData().getColumnCount(); c++)
                    row.add(rs.getString(c));
                rows.add(row);
            }
        }
        return rows;
    }

    static List<List<String>> query(Connection db, String sql, Object... args) throws SQLException {
        try (var st = db.prepareStatement(sql)) {
            return query(st, args);
        }
    }

    interface Call { void run() throws Exception; }

    static Exception raises(String state, Call call, String name) {
        try {
            call.run();
        } catch (PSQLException e) {
            eq(e.getSQLState(), state, name);
            return e;
        } catch (Exception e) {
            ok(false, name + ": " + e);
            return e;
        }
        ok(false, name + ": nothing thrown");
        return null;
    }

    static void jdbc(String how, String options) throws Exception {
        try (var db = DriverManager.getConnection(URL + "?user=app" + options)) {
            query(db, "DELETE FROM customer RETURNING 1");
            var row = query(db, INSERT, "Ann@Example.org", "+44 1").get(0);
            String id = row.get(0);
            eq(row.get(1), "ann@example.org", how + ": INSERT RETURNING opens");
            ok(row.get(2).startsWith("\\x"), how + ": a sealed value is \\x.. as a string");
            eq(query(db, Customers.FIND, "ANN@example.org"), List.of(List.of(id, "ann@example.org", "+44 1")), how + ": look-up by e-mail");
            eq(query(db, Customers.UPSERT, "ann@example.org", "+44 2"), List.of(List.of(id, "+44 2")), how + ": upsert updates");
            eq(query(db, Customers.UPSERT, "bob@example.org", null).get(0).get(1), null, how + ": upsert inserts, NULL");
            raises("23505", () -> query(db, INSERT, "ANN@example.org", "x"), how + ": PSQLException of a unique violation");
            for (String value : new String[] {"", MIB}) {
                String what = value.isEmpty() ? "empty string" : "1 MiB";
                eq(query(db, "UPDATE customer SET phone = encrypt(?, 'pii') WHERE id = ? RETURNING decrypt(phone)", value, Integer.valueOf(id)),
                    List.of(List.of(value)), how + ": " + what + ", RETURNING");
                eq(query(db, Customers.FIND, "ann@example.org").get(0).get(2), value, how + ": " + what + ", read");
            }
            try (var upsert = db.prepareStatement(Customers.UPSERT); var find = db.prepareStatement(Customers.FIND)) {
                boolean all = true;
                for (int n = 0; n < 12; n++)
                    query(upsert, "n" + n + "@example.org", "" + n);
                for (int n = 0; n < 12; n++)
                    all &= query(find, "n" + n + "@example.org").get(0).get(2).equals("" + n);
                ok(all, how + ": prepared statements 12 times");
                int made = query(db, "SELECT 1 FROM pg_prepared_statements WHERE statement LIKE '%search_terms%'").size();
                ok(options.contains("prepareThreshold=0") ? made == 0 : made > 0, how + ": prepared by the server " + made);
            }
            try (var st = db.prepareStatement("INSERT INTO customer (email) VALUES (encrypt(?, 'lookup'))", Statement.RETURN_GENERATED_KEYS)) {
                for (int n = 0; n < 20; n++) {
                    st.setString(1, "batch" + n + "@example.org");
                    st.addBatch();
                }
                eq(Arrays.stream(st.executeBatch()).sum(), 20, how + ": a batch");
                int keys = 0;
                for (var rs = st.getGeneratedKeys(); rs.next(); keys++)
                    if (!rs.getString("email").startsWith("\\x"))
                        ok(false, "generated keys");
                eq(keys, 20, how + ": its generated keys");
            }

            // arrays
            try (var st = db.prepareStatement("SELECT search_terms(?, 'lookup'), ARRAY[NULL]::enc_bytea[]")) {
                st.setString(1, "ann@example.org");
                var rs = st.executeQuery();
                rs.next();
                eq(((Object[]) rs.getArray(2).getArray())[0], null, how + ": enc_bytea[] with a NULL");
                var terms = (Object[]) rs.getArray(1).getArray();
                String sealed = terms[0].toString();
                ok(sealed.startsWith("\\x"), how + ": search_terms as an array of " + terms[0].getClass().getSimpleName());
                eq(query(db, "SELECT id FROM customer WHERE email = ANY (?::enc_bytea[])", db.createArrayOf("enc_bytea", terms)), List.of(List.of(id)),
                    how + ": sent back, createArrayOf(\"enc_bytea\")");
                eq(query(db, "SELECT id FROM customer WHERE email = ANY (?::enc_bytea[])", db.createArrayOf("text", terms)), List.of(List.of(id)),
                    how + ": sent back, createArrayOf(\"text\")");
                try (var open = db.prepareStatement("SELECT decrypt(?::enc_bytea)")) {
                    Customers.setSealed(open, 1, sealed);
                    var opened = open.executeQuery();
                    opened.next();
                    eq(opened.getString(1), "ann@example.org", how + ": a sealed value sent back");
                }
            }

            var note = UUID.randomUUID();
            Customers.addNote(db, note, "call back");
            eq(query(db, Customers.READ_NOTE, note), List.of(List.of("call back")), how + ": a bound value");
            try (var st = db.prepareStatement("DELETE FROM customer WHERE email = ANY (search_terms(?, 'lookup'))")) {
                st.setString(1, "ann@example.org");
                eq(st.executeUpdate(), 1, how + ": delete");
            }
            eq(query(db, Customers.FIND, "ann@example.org"), List.of(), how + ": and gone");
        }
    }

    static void refused() throws Exception {
        try (var db = DriverManager.getConnection(URL + "?user=app")) {
            raises("42804", () -> query(db, "INSERT INTO customer (email) VALUES (?) RETURNING id", "plain@example.org"), "JDBC: plain text is refused");
        }
        try (var db = DriverManager.getConnection(URL + "?user=app&stringtype=unspecified")) {
            raises("22P03", () -> query(db, "INSERT INTO customer (email) VALUES (?) RETURNING id", "plain@example.org"), "JDBC: also untyped");
        }
        try (var db = DriverManager.getConnection(URL + "?user=web")) {
            raises("42501", () -> query(db, "SELECT decrypt(phone) FROM customer"), "JDBC: web opens nothing");
        }
    }

    static void hibernate() throws Exception {
        try (var db = DriverManager.getConnection(URL + "?user=app")) {
            query(db, "SELECT set_config('enable_seqscan', 'off', false)");
            var plan = query(db, "EXPLAIN SELECT id FROM customer WHERE cast(email = any (search_terms(lower(?), 'lookup')) as boolean) = true", "x").toString();
            ok(plan.contains("customer_email_key"), "Hibernate: what its look-up becomes uses the index");
        }
        var cfg = new Configuration().addAnnotatedClass(Customer.class)
            .setProperty("hibernate.connection.url", URL).setProperty("hibernate.connection.username", "app");
        try (var sessions = cfg.buildSessionFactory()) {
            var ann = new Customer();
            ann.email = "Hib@Example.org";
            ann.phone = "+44 1";
            sessions.inTransaction(s -> s.persist(ann));
            ok(ann.id != null, "Hibernate: create");
            Customer got = sessions.fromTransaction(s -> s.createQuery(Customer.BY_EMAIL, Customer.class).setParameter("email", "hib@EXAMPLE.org").getSingleResult());
            eq(List.of(got.id, got.email, got.phone), List.of(ann.id, "hib@example.org", "+44 1"), "Hibernate: look-up by e-mail");
            for (String value : new String[] {"", MIB, null}) {
                sessions.inTransaction(s -> s.find(Customer.class, ann.id).phone = value);
                eq(sessions.fromTransaction(s -> s.find(Customer.class, ann.id)).phone, value,
                    "Hibernate: update, " + (value == null ? "NULL" : value.length() + " bytes"));
            }
            for (int n = 0; n < 12; n++)
                sessions.fromTransaction(s -> s.createQuery(Customer.BY_EMAIL, Customer.class).setParameter("email", "hib@example.org").getSingleResult());
            ok(true, "Hibernate: a look-up 12 times");
            try {
                var twice = new Customer();
                twice.email = "hib@example.org";
                sessions.inTransaction(s -> s.persist(twice));
                ok(false, "Hibernate: ConstraintViolationException");
            } catch (ConstraintViolationException e) {
                eq(e.getSQLState(), "23505", "Hibernate: ConstraintViolationException");
            }
            sessions.inTransaction(s -> s.remove(s.find(Customer.class, ann.id)));
            eq(sessions.fromTransaction(s -> s.createQuery(Customer.BY_EMAIL, Customer.class).setParameter("email", "hib@example.org").getResultList()), List.of(), "Hibernate: delete");
        }
    }

    public static void main(String[] args) throws Exception {
        LOG.setLevel(Level.OFF);
        jdbc("text", "&binaryTransfer=false");
        jdbc("binary", "&prepareThreshold=1");
        jdbc("unnamed", "&prepareThreshold=0");
        refused();
        hibernate();
        System.out.println("1.." + count);
    }
}
