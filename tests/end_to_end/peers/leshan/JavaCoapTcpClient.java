import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import javax.net.SocketFactory;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

import com.mbed.coap.client.CoapClient;
import com.mbed.coap.packet.BlockSize;
import com.mbed.coap.packet.CoapRequest;
import com.mbed.coap.packet.CoapResponse;
import com.mbed.coap.packet.Code;
import com.mbed.coap.packet.Method;
import com.mbed.coap.server.CoapServer;
import com.mbed.coap.server.TcpCoapServer;
import com.mbed.coap.server.observe.ObserversManager;
import com.mbed.coap.transport.javassl.SocketClientTransport;

/**
 * A LwM2M 1.1 client over CoAP over TCP, driven line by line. Its transport is java-coap's, which is the one that Eclipse
 * Leshan uses over TCP; Leshan's own module around it is not published as a package, so LwM2M is done here by hand.
 *
 * <pre>
 * java -cp 'target/peers/leshan/*:target/peers/leshan/classes' JavaCoapTcpClient coap+tcp://HOST:PORT ENDPOINT
 * .. JavaCoapTcpClient coaps+tcp://HOST:PORT ENDPOINT CERTIFICATE.der PRIVATE_KEY.der AUTHORITY.der
 * </pre>
 *
 * Prints and takes the same lines as LeshanClient: registered, updated, deregistered, read, written, executed, observed,
 * set, sent, failed; {@code set PATH VALUE}, {@code send PATH}, {@code update}, {@code deregister}. Also prints composite
 * {paths}.
 *
 * Objects: 1, 3, 3303 (temperature), 3308 (set point, writable). Formats: text and SenML JSON; others are refused.
 */
public final class JavaCoapTcpClient {

    private static final short TEXT = 0;
    private static final short LINK_FORMAT = 40;
    private static final short SENML_JSON = 110;
    private static final String OBJECTS = "</>;rt=\"oma.lwm2m\";ct=110,</1/0>,</3/0>,</3303/0>,</3308/0>";
    private static final String SET_POINT = "/3308/0/5900";
    private static final String RESET = "/3303/0/5605";
    private static final Pattern NAME = Pattern.compile("\"n\"\\s*:\\s*\"([^\"]*)\"");
    private static final Pattern VALUE = Pattern.compile("\"v\"\\s*:\\s*(-?[0-9.eE+-]+)");

    private final Map<String, Double> values =
            new ConcurrentSkipListMap<>(Map.of("/3303/0/5700", 20.5, SET_POINT, 18.5));
    private final ObserversManager observers = new ObserversManager();

    private JavaCoapTcpClient() {
    }

    public static void main(String[] args) throws Exception {
        if (args.length != 2 && args.length != 5) {
            System.err.println("usage: JavaCoapTcpClient coap[s]+tcp://HOST:PORT ENDPOINT [CERTIFICATE KEY AUTHORITY]");
            System.exit(2);
        }
        URI uri = URI.create(args[0]);
        InetSocketAddress server = new InetSocketAddress(InetAddress.getByName(uri.getHost()), uri.getPort());
        // Its transport for TLS may hear of the end of the handshake before it knows its own socket, and then never
        // begins; a socket that does TLS by itself will do.
        SocketFactory sockets = args.length == 5 ? tls(args[2], args[3], args[4]) : SocketFactory.getDefault();
        SocketClientTransport transport = new SocketClientTransport(server, sockets, false);
        new JavaCoapTcpClient().run(server, args[1], transport);
        System.exit(0);
    }

    /** TLS with a certificate of its own, to servers of this authority; all files are DER, the key PKCS#8. */
    private static SSLSocketFactory tls(String certificate, String key, String authority) throws Exception {
        CertificateFactory certificates = CertificateFactory.getInstance("X.509");
        PrivateKey privateKey = KeyFactory.getInstance("EC")
                .generatePrivate(new PKCS8EncodedKeySpec(Files.readAllBytes(Path.of(key))));
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        char[] password = {};
        store.setKeyEntry("own", privateKey, password,
                new Certificate[] { certificates.generateCertificate(Files.newInputStream(Path.of(certificate))) });
        store.setCertificateEntry("authority",
                certificates.generateCertificate(Files.newInputStream(Path.of(authority))));
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, password);
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context.getSocketFactory();
    }

    private void run(InetSocketAddress address, String endpoint, SocketClientTransport transport) throws Exception {
        CoapServer server = TcpCoapServer.builder()
                .transport(transport)
                .maxMessageSize(8_193)
                .blockSize(BlockSize.S_1024_BERT)
                .route(observers.then(this::answer))
                .build();
        observers.init(server);
        CoapClient client = CoapClient.create(address, server.start(), response -> response.getCode() == Code.C703_PONG);
        if (!client.ping().get()) {
            report("failed", "message", "the ping was not answered");
        }
        CoapResponse registered = client.sendSync(CoapRequest.post("/rd")
                .query("ep", endpoint).query("lwm2m", "1.1").query("lt", "300").query("b", "T")
                .payload(OBJECTS, LINK_FORMAT));
        if (registered.getCode() != Code.C201_CREATED) {
            report("failed", "message", "register: " + registered);
            return;
        }
        String location = registered.options().getLocationPath();
        report("registered", "location", location);
        obey(client, location);
    }

    private void obey(CoapClient client, String location) throws Exception {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.trim().split(" ");
            switch (words[0]) {
            case "set":
                values.put(words[1], Double.parseDouble(words[2]));
                observers.sendObservation(words[1], this::answer);
                report("set", "path", words[1], "value", words[2]);
                break;
            case "send":
                expect(client.sendSync(CoapRequest.post("/dp").payload(senml(words[1]), SENML_JSON)), Code.C204_CHANGED,
                        "sent", "path", words[1]);
                break;
            case "update":
                expect(client.sendSync(CoapRequest.post(location)), Code.C204_CHANGED, "updated");
                break;
            case "deregister":
                expect(client.sendSync(CoapRequest.delete(location)), Code.C202_DELETED, "deregistered");
                client.close();
                return;
            default:
                report("failed", "message", "cannot obey: " + line);
            }
        }
    }

    private static void expect(CoapResponse response, Code code, String event, String... fields) {
        if (response.getCode() == code) {
            report(event, fields);
        } else {
            report("failed", "message", event + ": " + response);
        }
    }

    private CompletableFuture<CoapResponse> answer(CoapRequest request) {
        String path = request.options().getUriPath();
        Method method = request.getMethod();
        if (method == Method.FETCH) {
            return composite(request).toFuture();
        }
        if (method == Method.POST && RESET.equals(path)) {
            report("executed", "path", path, "arguments", request.getPayload().toUtf8String());
            return CoapResponse.coapResponse(Code.C204_CHANGED).toFuture();
        }
        if (!values.containsKey(path)) {
            return CoapResponse.notFound().toFuture();
        }
        if (method == Method.GET) {
            report(request.options().getObserve() == null ? "read" : "observed", "path", path);
            return read(request, path).toFuture();
        }
        if (method != Method.PUT) {
            return CoapResponse.coapResponse(Code.C405_METHOD_NOT_ALLOWED).toFuture();
        }
        if (request.getPayload().isEmpty()) {
            // Write-Attributes.
            return CoapResponse.coapResponse(Code.C204_CHANGED).toFuture();
        }
        return write(request, path).toFuture();
    }

    private CoapResponse.Builder read(CoapRequest request, String path) {
        Integer accept = request.options().getAccept();
        if (accept == null || accept == TEXT) {
            return CoapResponse.ok(String.valueOf(values.get(path)), TEXT);
        }
        return accept == SENML_JSON ? CoapResponse.ok(senml(path), SENML_JSON)
                : CoapResponse.coapResponse(Code.C406_NOT_ACCEPTABLE);
    }

    private CoapResponse.Builder write(CoapRequest request, String path) {
        Short format = request.options().getContentFormat();
        String text = request.getPayload().toUtf8String();
        Matcher value = VALUE.matcher(text);
        if (format != null && format == SENML_JSON && value.find()) {
            text = value.group(1);
        } else if (format != null && format != TEXT) {
            return CoapResponse.coapResponse(Code.C415_UNSUPPORTED_MEDIA_TYPE);
        }
        values.put(path, Double.parseDouble(text));
        report("written", "path", path, "value", text);
        return CoapResponse.coapResponse(Code.C204_CHANGED);
    }

    private CoapResponse.Builder composite(CoapRequest request) {
        Short format = request.options().getContentFormat();
        if (format == null || format != SENML_JSON) {
            return CoapResponse.coapResponse(Code.C415_UNSUPPORTED_MEDIA_TYPE);
        }
        Matcher names = NAME.matcher(request.getPayload().toUtf8String());
        StringBuilder records = new StringBuilder();
        StringBuilder paths = new StringBuilder();
        while (names.find()) {
            String path = names.group(1);
            paths.append(paths.length() == 0 ? "" : " ").append(path);
            if (values.containsKey(path)) {
                records.append(records.length() == 0 ? "" : ",").append(record(path));
            }
        }
        report("composite", "paths", paths.toString());
        return CoapResponse.ok("[" + records + "]", SENML_JSON);
    }

    private String senml(String path) {
        return "[" + record(path) + "]";
    }

    private String record(String path) {
        return "{\"n\":\"" + path + "\",\"v\":" + values.get(path) + "}";
    }

    private static synchronized void report(String event, String... fields) {
        StringBuilder line = new StringBuilder("{\"event\":\"").append(event).append('"');
        for (int i = 0; i + 1 < fields.length; i += 2) {
            String text = fields[i + 1].replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ");
            line.append(",\"").append(fields[i]).append("\":\"").append(text).append('"');
        }
        System.out.println(line.append('}'));
        System.out.flush();
    }
}
