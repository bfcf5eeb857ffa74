// What the programs of the queues of Node.js share: the work itself, and talking to the driver of the benchmark.

const readline = require("node:readline");

const CPU_US = 10_000; // of CPU time of a job of kind "c"

// Do the work of a payload, as the workers of all queues do.
function answer(payload) {
  if (payload[0] === "c") {
    const before = process.cpuUsage();
    let used;
    do {
      used = process.cpuUsage(before);
    } while (used.user + used.system < CPU_US);
  }
  return payload.toUpperCase();
}

// Answer lists of payloads, one in each line of standard input, with the lists of their answers.
async function serve(runAll, runOne) {
  console.log("ready");
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const payloads = JSON.parse(line);
    const answers = payloads.length === 1 ? [await runOne(payloads[0])] : await runAll(payloads);
    console.log(JSON.stringify(answers));
  }
  process.exit(0);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Cut a list into parts of at most this size.
function* cut(list, size) {
  for (let start = 0; start < list.length; start += size) yield list.slice(start, start + size);
}

module.exports = { answer, cut, pause, serve };
