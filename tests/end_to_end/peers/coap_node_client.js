// A LwM2M 1.0 client made of npm's `coap-node`, driven line by line.
//
//     node coap_node_client.js [--bootstrap] HOST PORT ENDPOINT [LIFETIME_SECONDS]
//
// With `--bootstrap` host and port are those of a bootstrap server, and it knows no other.
//
// Events and commands are those of `node_lib_client.js`:
//   bootstrapping {status}   bootstrapped {security, server}: the instances of objects 0 and 1
//   registered {location, port}   updated   deregistered   read {path}   written {path, value}
//   executed {path, arguments}   observed {path}   set {path, value}   failed {message}
//   set PATH VALUE | update | deregister
//
// The modules are looked up by NODE_PATH, which is where `tests/run` installed them.

'use strict';

// The library asks `netstat` for the machine's default route and its address unless it believes to be under test;
// a machine without a route would keep it from registering.
process.env.npm_lifecycle_event = 'test';

const readline = require('readline');
const SmartObject = require('smartobject');
const CoapNode = require('coap-node');

const words = process.argv.slice(2);
const bootstraps = words[0] === '--bootstrap';
const [host, port, endpoint, lifetime = '300'] = bootstraps ? words.slice(1) : words;
if (!endpoint) {
    process.stderr.write('usage: coap_node_client.js [--bootstrap] HOST PORT ENDPOINT [LIFETIME_SECONDS]\n');
    process.exit(2);
}

function report(event, fields) {
    process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

function fail(error) {
    report('failed', { message: String((error && error.message) || error) });
}

// The objects, by number; the library's own table turns numbers into its names.
const objects = new SmartObject();
let temperature = 20.5;
let setPoint = 18.5;

objects.init(3303, 0, {
    5700: {
        read(done) {
            report('read', { path: '/3303/0/5700' });
            done(null, temperature);
        },
        // Reached by the `set` command only: the library refuses a remote write to a read-only resource before this.
        write(value, done) {
            temperature = Number(value);
            done(null, temperature);
        },
    },
    5701: 'Cel',
    5605: {
        exec(...parameters) {
            const done = parameters.pop();
            report('executed', { path: '/3303/0/5605', arguments: parameters.join(',') });
            done(null, 'changed');
        },
    },
});
objects.init(3308, 0, {
    5900: {
        read(done) {
            report('read', { path: '/3308/0/5900' });
            done(null, setPoint);
        },
        write(value, done) {
            setPoint = Number(value);
            report('written', { path: '/3308/0/5900', value: setPoint });
            done(null, setPoint);
        },
    },
});

const node = new CoapNode(endpoint, objects, {
    lifetime: Number(lifetime),
    manuf: 'coap-node',
    model: 'driver',
    firmware: '0.2.5',
});
node.on('error', fail);

// The library has no event for a new observation.
const enableReport = node._enableReport.bind(node);
node._enableReport = (oid, iid, rid, ...rest) => {
    const numbers = node.getSmartObject().objectList().map((object) => String(object.oid));
    const lwm2mId = require('lwm2m-id');
    const object = lwm2mId.getOid(oid) ? lwm2mId.getOid(oid).value : oid;
    const resource = rid === undefined ? undefined : (lwm2mId.getRid(oid, rid) || { value: rid }).value;
    const parts = [object, iid, resource].filter((part) => part !== undefined && part !== null);
    if (!numbers.includes(String(object))) fail(`observation of an object that is not there: ${oid}`);
    report('observed', { path: `/${parts.join('/')}` });
    return enableReport(oid, iid, rid, ...rest);
};

function deregister() {
    node.deregister((error, answer) => {
        if (error || answer.status !== '2.02') fail(error || answer.status);
        else report('deregistered', {});
        process.stdout.write('', () => process.exit(error ? 1 : 0));
    });
}

function obey(line) {
    const [command, target, ...rest] = line.trim().split(' ');
    if (command === 'set' && rest.length > 0) {
        const [oid, iid, rid] = target.slice(1).split('/').map(Number);
        objects.write(oid, iid, rid, Number(rest.join(' ')), (error) => {
            if (error) fail(error);
            else report('set', { path: target, value: rest.join(' ') });
        });
    } else if (command === 'update') {
        node.update({}, (error, answer) => {
            if (error || answer.status !== '2.04') fail(error || answer.status);
            else report('updated', {});
        });
    } else if (command === 'deregister') {
        deregister();
    } else if (command) {
        fail(`cannot obey: ${line}`);
    }
}

function enter(how, then) {
    node[how](host, Number(port), (error, answer) => {
        if (error || !/^2\./.test(answer.status)) {
            fail(error || answer.status);
            process.exit(1);
        }
        then(answer);
    });
}

if (bootstraps) {
    node.on('bootstrapped', () => {
        report('bootstrapped', { security: objects.dumpSync('lwm2mSecurity'), server: objects.dumpSync('lwm2mServer') });
    });
    // After Finish the library registers by itself.
    node.on('registered', () => report('registered', { location: node.locationPath, port: node.port }));
    enter('bootstrap', (answer) => report('bootstrapping', { status: answer.status }));
} else {
    enter('register', () => report('registered', { location: node.locationPath, port: node.port }));
}

readline.createInterface({ input: process.stdin }).on('line', obey).on('close', () => process.exit(0));
