import static org.eclipse.leshan.client.object.Security.noSec;
import static org.eclipse.leshan.client.object.Security.noSecBootstrap;
import static org.eclipse.leshan.client.object.Security.psk;
import static org.eclipse.leshan.client.object.Security.pskBootstrap;
import static org.eclipse.leshan.client.object.Security.rpk;
import static org.eclipse.leshan.client.object.Security.rpkBootstrap;
import static org.eclipse.leshan.client.object.Security.x509;
import static org.eclipse.leshan.client.object.Security.x509Bootstrap;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;

import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.core.network.Endpoint;
import org.eclipse.californium.elements.Connector;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.leshan.client.LeshanClientBuilder;
import org.eclipse.leshan.client.object.Device;
import org.eclipse.leshan.client.object.Security;
import org.eclipse.leshan.client.object.Server;
import org.eclipse.leshan.client.observer.LwM2mClientObserverAdapter;
import org.eclipse.leshan.client.resource.BaseInstanceEnabler;
import org.eclipse.leshan.client.resource.ObjectsInitializer;
import org.eclipse.leshan.client.servers.LwM2mServer;
import org.eclipse.leshan.core.LwM2mId;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.ResourceModel;
import org.eclipse.leshan.core.model.ResourceModel.Operations;
import org.eclipse.leshan.core.model.ResourceModel.Type;
import org.eclipse.leshan.core.model.StaticModel;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.request.BindingMode;
import org.eclipse.leshan.core.request.BootstrapRequest;
import org.eclipse.leshan.core.request.ContentFormat;
import org.eclipse.leshan.core.request.DeregisterRequest;
import org.eclipse.leshan.core.request.RegisterRequest;
import org.eclipse.leshan.core.request.UpdateRequest;
import org.eclipse.leshan.core.request.argument.Arguments;
import org.eclipse.leshan.core.response.ExecuteResponse;
import org.eclipse.leshan.core.response.ObserveResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.core.response.WriteResponse;
import org.eclipse.leshan.transport.californium.client.endpoint.CaliforniumClientEndpointsProvider;
import org.eclipse.leshan.transport.californium.client.endpoint.coap.CoapClientProtocolProvider;
import org.eclipse.leshan.transport.californium.client.endpoint.coaps.CoapsClientProtocolProvider;

/**
 * A LwM2M 1.1 client made of Eclipse Leshan's client library, driven line by line.
 *
 * <pre>
 * java -cp 'target/peers/leshan/*:target/peers/leshan/classes' \
 *     LeshanClient [--bootstrap] URI ENDPOINT [LIFETIME_SECONDS [SECURITY]]
 * SECURITY: psk IDENTITY KEY_HEX
 *           rpk PUBLIC_KEY.der PRIVATE_KEY.der SERVER_PUBLIC_KEY.der
 *           x509 CERTIFICATE.der PRIVATE_KEY.der SERVER_CERTIFICATE.der
 * </pre>
 *
 * With {@code --bootstrap} the URI and security are those of a bootstrap server, and it knows no other.
 *
 * Over DTLS it offers an empty connection id: it is told apart by its address, the server by the id it gives itself.
 *
 * Prints one JSON object per line: bootstrapping {uri}, bootstrapped {uri}, registered {location, uri}, updated,
 * deregistered, read {path}, written {path, value}, executed {path, arguments}, observed {path}, set {path, value},
 * sent {path}, moved {port}, failed {message}.
 * Takes one command per line: {@code set PATH VALUE}, {@code send PATH}, {@code update}, {@code deregister},
 * {@code move} (its DTLS session goes on from another port).
 * The end of standard input ends the process without deregistering.
 *
 * Objects: 1, 3, 3303 (temperature), 3308 (set point, writable).
 *
 * Leshan's own demo client is not published as a package; this program stands in its place, over the same library.
 */
public final class LeshanClient {

    private static final int TEMPERATURE = 3303;
    private static final int SET_POINT = 3308;
    private static final int SHORT_SERVER_ID = 123;
    private static final long SEND_TIMEOUT_MILLIS = 10_000;

    private LeshanClient() {
    }

    public static void main(String[] args) throws Exception {
        boolean bootstraps = args.length > 0 && args[0].equals("--bootstrap");
        args = Arrays.copyOfRange(args, bootstraps ? 1 : 0, args.length);
        if (args.length < 2) {
            System.err.println("usage: LeshanClient [--bootstrap] URI ENDPOINT [LIFETIME_SECONDS [psk|rpk|x509 ..]]");
            System.exit(2);
        }
        String uri = args[0];
        long lifetimeSecs = args.length > 2 ? Long.parseLong(args[2]) : 300;

        List<ObjectModel> models = ObjectLoader.loadAllDefault();
        models.add(temperatureModel());
        models.add(setPointModel());

        Numbers temperature = new Temperature();
        Numbers setPoint = new SetPoint();

        ObjectsInitializer objects = new ObjectsInitializer(new StaticModel(models));
        String[] words = Arrays.copyOfRange(args, Math.min(3, args.length), args.length);
        if (bootstraps) {
            objects.setInstancesForObject(LwM2mId.SECURITY, bootstrapSecurity(uri, words));
            objects.setClassForObject(LwM2mId.SERVER, Server.class);
        } else {
            objects.setInstancesForObject(LwM2mId.SECURITY, security(uri, words));
            objects.setInstancesForObject(LwM2mId.SERVER, new Server(SHORT_SERVER_ID, lifetimeSecs,
                    EnumSet.of(BindingMode.U), false, BindingMode.U));
        }
        objects.setInstancesForObject(LwM2mId.DEVICE, new Device("Leshan", "driver", "0"));
        objects.setInstancesForObject(TEMPERATURE, temperature);
        objects.setInstancesForObject(SET_POINT, setPoint);

        LeshanClientBuilder builder = new LeshanClientBuilder(args[1]);
        builder.setObjects(objects.createAll());
        CaliforniumClientEndpointsProvider.Builder endpoints = new CaliforniumClientEndpointsProvider.Builder(
                new CoapClientProtocolProvider(), new CoapsClientProtocolProvider());
        Configuration configuration = endpoints.createDefaultConfiguration();
        configuration.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, 0);
        endpoints.setConfiguration(configuration);
        CaliforniumClientEndpointsProvider provider = endpoints.build();
        builder.setEndpointsProviders(provider);
        org.eclipse.leshan.client.LeshanClient client = builder.build();
        client.addObserver(new Lifecycle());
        client.start();

        obey(client, provider, Map.of(TEMPERATURE, temperature, SET_POINT, setPoint));
    }

    private static Security security(String uri, String[] words) throws IOException {
        switch (words.length > 0 ? words[0] : "nosec") {
        case "psk":
            return psk(uri, SHORT_SERVER_ID, words[1].getBytes(StandardCharsets.UTF_8), hex(words[2]));
        case "rpk":
            return rpk(uri, SHORT_SERVER_ID, file(words[1]), file(words[2]), file(words[3]));
        case "x509":
            return x509(uri, SHORT_SERVER_ID, file(words[1]), file(words[2]), file(words[3]));
        default:
            return noSec(uri, SHORT_SERVER_ID);
        }
    }

    private static Security bootstrapSecurity(String uri, String[] words) throws IOException {
        switch (words.length > 0 ? words[0] : "nosec") {
        case "psk":
            return pskBootstrap(uri, words[1].getBytes(StandardCharsets.UTF_8), hex(words[2]));
        case "rpk":
            return rpkBootstrap(uri, file(words[1]), file(words[2]), file(words[3]));
        case "x509":
            return x509Bootstrap(uri, file(words[1]), file(words[2]), file(words[3]));
        default:
            return noSecBootstrap(uri);
        }
    }

    private static byte[] file(String path) throws IOException {
        return Files.readAllBytes(Path.of(path));
    }

    /** Its sessions are kept while the socket changes. */
    private static void move(CaliforniumClientEndpointsProvider provider) throws IOException {
        for (Endpoint endpoint : provider.getCoapServer().getEndpoints()) {
            Connector connector = ((CoapEndpoint) endpoint).getConnector();
            connector.stop();
            connector.start();
            report("moved", "port", String.valueOf(connector.getAddress().getPort()));
        }
    }

    private static void obey(org.eclipse.leshan.client.LeshanClient client,
            CaliforniumClientEndpointsProvider provider, Map<Integer, Numbers> objects) throws Exception {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.trim().split(" ");
            switch (words[0]) {
            case "set":
                String[] numbers = words[1].substring(1).split("/");
                objects.get(Integer.valueOf(numbers[0])).set(Integer.parseInt(numbers[2]),
                        Double.parseDouble(words[2]));
                report("set", "path", words[1], "value", words[2]);
                break;
            case "send":
                LwM2mServer server = client.getRegisteredServers().values().iterator().next();
                client.getSendService().sendData(server, ContentFormat.SENML_CBOR, Arrays.asList(words[1]),
                        SEND_TIMEOUT_MILLIS, response -> {
                            if (response.isSuccess()) {
                                report("sent", "path", words[1]);
                            } else {
                                report("failed", "message", "send: " + response.getCode());
                            }
                        }, error -> report("failed", "message", "send: " + error));
                break;
            case "move":
                move(provider);
                break;
            case "update":
                client.triggerRegistrationUpdate();
                break;
            case "deregister":
                client.destroy(true);
                System.exit(0);
                break;
            case "":
                break;
            default:
                report("failed", "message", "cannot obey: " + line);
            }
        }
        System.exit(0);
    }

    /** One instance whose numbers can be set from outside; resource 5605 (reset) can be executed. */
    private abstract static class Numbers extends BaseInstanceEnabler {
        private final Map<Integer, Double> values;
        private final Map<Integer, String> texts;

        Numbers(Map<Integer, Double> values, Map<Integer, String> texts) {
            this.values = new ConcurrentSkipListMap<>(values);
            this.texts = texts;
        }

        void set(int resource, double value) {
            values.put(resource, value);
            fireResourceChange(resource);
        }

        private ReadResponse current(int resource) {
            if (values.containsKey(resource)) {
                return ReadResponse.success(resource, values.get(resource));
            }
            return texts.containsKey(resource) ? ReadResponse.success(resource, texts.get(resource))
                    : ReadResponse.notFound();
        }

        @Override
        public ReadResponse read(LwM2mServer server, int resource) {
            // The library reads by itself to fill notifications; only what a server asked for is worth a line.
            if (!server.isSystem()) {
                report("read", "path", getResourcePath(resource).toString());
            }
            return current(resource);
        }

        @Override
        public ObserveResponse observe(LwM2mServer server, int resource) {
            // Asked for by a server, and by the library itself before each notification.
            report("observed", "path", getResourcePath(resource).toString());
            ReadResponse value = current(resource);
            return new ObserveResponse(value.getCode(), value.getContent(), null, null, null, value.getErrorMessage());
        }

        @Override
        public WriteResponse write(LwM2mServer server, boolean replace, int resource, LwM2mResource value) {
            if (!values.containsKey(resource)) {
                return WriteResponse.notFound();
            }
            report("written", "path", getResourcePath(resource).toString(), "value", String.valueOf(value.getValue()));
            set(resource, ((Number) value.getValue()).doubleValue());
            return WriteResponse.success();
        }

        @Override
        public ExecuteResponse execute(LwM2mServer server, int resource, Arguments arguments) {
            report("executed", "path", getResourcePath(resource).toString(), "arguments",
                    arguments.isEmpty() ? "" : arguments.serialize());
            return ExecuteResponse.success();
        }
    }

    /** Public with a default constructor, because the library may create further instances. */
    public static final class Temperature extends Numbers {
        public Temperature() {
            super(Map.of(5700, 20.5), Map.of(5701, "Cel"));
        }
    }

    /** The object that a server may write. */
    public static final class SetPoint extends Numbers {
        public SetPoint() {
            super(Map.of(5900, 18.5), Map.of());
        }
    }

    private static final class Lifecycle extends LwM2mClientObserverAdapter {
        @Override
        public void onBootstrapStarted(LwM2mServer server, BootstrapRequest request) {
            report("bootstrapping", "uri", server.getUri());
        }

        @Override
        public void onBootstrapSuccess(LwM2mServer server, BootstrapRequest request) {
            report("bootstrapped", "uri", server.getUri());
        }

        @Override
        public void onBootstrapFailure(LwM2mServer server, BootstrapRequest request,
                org.eclipse.leshan.core.ResponseCode code, String message, Exception cause) {
            report("failed", "message", "bootstrap: " + code + " " + message);
        }

        @Override
        public void onBootstrapTimeout(LwM2mServer server, BootstrapRequest request) {
            report("failed", "message", "bootstrap: no answer");
        }

        @Override
        public void onRegistrationSuccess(LwM2mServer server, RegisterRequest request, String registrationId) {
            report("registered", "location", registrationId, "uri", server.getUri());
        }

        @Override
        public void onRegistrationFailure(LwM2mServer server, RegisterRequest request,
                org.eclipse.leshan.core.ResponseCode code, String message, Exception cause) {
            report("failed", "message", "register: " + code + " " + message);
        }

        @Override
        public void onRegistrationTimeout(LwM2mServer server, RegisterRequest request) {
            report("failed", "message", "register: no answer");
        }

        @Override
        public void onUpdateSuccess(LwM2mServer server, UpdateRequest request) {
            report("updated");
        }

        @Override
        public void onUpdateFailure(LwM2mServer server, UpdateRequest request,
                org.eclipse.leshan.core.ResponseCode code, String message, Exception cause) {
            report("failed", "message", "update: " + code + " " + message);
        }

        @Override
        public void onUpdateTimeout(LwM2mServer server, UpdateRequest request) {
            report("failed", "message", "update: no answer");
        }

        @Override
        public void onDeregistrationSuccess(LwM2mServer server, DeregisterRequest request) {
            report("deregistered");
        }

        @Override
        public void onUnexpectedError(Throwable error) {
            report("failed", "message", String.valueOf(error));
        }
    }

    private static ObjectModel temperatureModel() {
        return new ObjectModel(TEMPERATURE, "Temperature", null, "1.0", true, false,
                resource(5700, "Sensor Value", Operations.R, Type.FLOAT),
                resource(5701, "Sensor Units", Operations.R, Type.STRING),
                resource(5605, "Reset Min and Max Measured Values", Operations.E, Type.NONE));
    }

    private static ObjectModel setPointModel() {
        return new ObjectModel(SET_POINT, "Set Point", null, "1.0", true, false,
                resource(5900, "Set Point Value", Operations.RW, Type.FLOAT));
    }

    private static ResourceModel resource(int id, String name, Operations operations, Type type) {
        return new ResourceModel(id, name, operations, false, false, type, null, null, null);
    }

    private static byte[] hex(String text) {
        byte[] bytes = new byte[text.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(text.substring(2 * i, 2 * i + 2), 16);
        }
        return bytes;
    }

    private static synchronized void report(String event, String... fields) {
        StringBuilder line = new StringBuilder("{\"event\":\"").append(event).append('"');
        for (int i = 0; i + 1 < fields.length; i += 2) {
            line.append(",\"").append(fields[i]).append("\":\"").append(escaped(fields[i + 1])).append('"');
        }
        System.out.println(line.append('}'));
        System.out.flush();
    }

    private static String escaped(String text) {
        StringBuilder escaped = new StringBuilder();
        for (char c : String.valueOf(text).toCharArray()) {
            if (c == '"' || c == '\\') {
                escaped.append('\\').append(c);
            } else if (c < ' ') {
                escaped.append(String.format("\\u%04x", (int) c));
            } else {
                escaped.append(c);
            }
        }
        return escaped.toString();
    }
}
