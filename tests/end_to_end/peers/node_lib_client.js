// A LwM2M 1.0 client made of npm's `lwm2m-node-lib`, driven line by line.
//
//     node node_lib_client.js HOST PORT ENDPOINT [LIFETIME_SECONDS]
//
// Prints one JSON object per line for each thing that happens:
//   registered {location}   updated   deregistered   read {path}   written {path, value}
//   executed {path, arguments}   observed {path}   set {path, value}   failed {message}
// Takes one command per line on standard input:
//   set PATH VALUE    changes a resource of its own; observers are notified
//   update            sends a registration Update (the library does so from a new port)
//   deregister        deregisters and ends
// The end of standard input ends the process without deregistering.
//
// The modules are looked up by NODE_PATH, which is where `tests/run` installed them.

'use strict';

const readline = require('readline');
const lwm2m = require('lwm2m-node-lib').client;

const [host, port, endpoint, lifetime = '300'] = process.argv.slice(2);
if (!endpoint) {
    process.stderr.write('usage: node_lib_client.js HOST PORT ENDPOINT [LIFETIME_SECONDS]\n');
    process.exit(2);
}

// The library treats an empty or zero value as missing, so none stands here. All values are text.
const RESOURCES = {
    '/3/0': { 0: 'node-lib', 1: 'driver', 3: '1.4.0' },
    '/3303/0': { 5700: '20.5', 5701: 'Cel' },
    '/3308/0': { 5900: '18.5' },
};

let device = null;
const observed = new Set();

function report(event, fields) {
    process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

function fail(error) {
    report('failed', { message: String((error && error.message) || error) });
}

function path(type, instance, resource) {
    return `/${type}/${instance}/${resource}`;
}

// Observe requests reach the library's read handler; only its list of observers tells the two apart.
function reportNewObservers() {
    lwm2m.listObservers((_, observers) => {
        const present = new Set(observers.map((observer) => observer.id));
        for (const id of observed) {
            if (!present.has(id)) observed.delete(id);
        }
        for (const id of present) {
            if (!observed.has(id)) {
                observed.add(id);
                report('observed', { path: id });
            }
        }
    });
}

// Each Register and Update opens another listener with handlers of its own.
function attach(information) {
    device = information;
    const { serverInfo } = information;
    lwm2m.setHandler(serverInfo, 'read', (type, instance, resource, value, done) => {
        report('read', { path: path(type, instance, resource) });
        reportNewObservers();
        done(null);
    });
    lwm2m.setHandler(serverInfo, 'write', (type, instance, resource, value, done) => {
        report('written', { path: path(type, instance, resource), value });
        done(null);
    });
    lwm2m.setHandler(serverInfo, 'execute', (type, instance, resource, value, done) => {
        report('executed', { path: path(type, instance, resource), arguments: value || '' });
        done(null);
    });
}

function set(target, value) {
    const slash = target.lastIndexOf('/');
    lwm2m.registry.setResource(target.slice(0, slash), target.slice(slash + 1), value, (error) => {
        if (error) fail(error);
        else report('set', { path: target, value });
    });
}

function update() {
    // The library appends the new Location-Path to the old one; an answer to Update carries none.
    lwm2m.update(device, (error, information) => {
        if (error) return fail(error);
        attach(information);
        report('updated', {});
    });
}

function deregister() {
    lwm2m.unregister(device, (error) => {
        if (error) fail(error);
        else report('deregistered', {});
        // A listener left over from an Update would keep the process alive.
        process.stdout.write('', () => process.exit(error ? 1 : 0));
    });
}

function obey(line) {
    const [command, target, ...rest] = line.trim().split(' ');
    if (command === 'set' && rest.length > 0) set(target, rest.join(' '));
    else if (command === 'update' && device) update();
    else if (command === 'deregister' && device) deregister();
    else if (command) fail(`cannot obey: ${line}`);
}

lwm2m.init({
    client: {
        lifetime,
        version: '1.0',
        logLevel: 'FATAL',
        ipProtocol: 'udp4',
        serverProtocol: 'udp4',
        formats: [{ name: 'lightweightm2m/text', value: 1541 }],
        writeFormat: 'lightweightm2m/text',
    },
});
require('logops').setLevel('FATAL');

for (const [instance, resources] of Object.entries(RESOURCES)) {
    lwm2m.registry.create(instance, () => {});
    for (const [resource, value] of Object.entries(resources)) {
        lwm2m.registry.setResource(instance, resource, value, () => {});
    }
}

lwm2m.register(host, port, '', endpoint, (error, information) => {
    if (error) {
        fail(error);
        process.exit(1);
    }
    attach(information);
    report('registered', { location: `/${information.location}`, port: information.localPort });
});

readline.createInterface({ input: process.stdin }).on('line', obey).on('close', () => process.exit(0));
