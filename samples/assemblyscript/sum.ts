// The sum of the numbers in a JSON list.
import { readAll } from "./input";

const text = readAll().trim();
if (!text.startsWith("[") || !text.endsWith("]")) {
  process.stderr.write("the input is not a list of numbers\n");
  process.exit(1);
}
const numbers = text.substring(1, text.length - 1).split(",");
let sum: f64 = 0;
for (let i = 0; i < numbers.length; i++) {
  const number = parseFloat(numbers[i]);
  if (isNaN(number) && text.length > 2) {
    process.stderr.write("the input is not a list of numbers: " + numbers[i] + "\n");
    process.exit(1);
  }
  sum += isNaN(number) ? 0 : number;
}
process.stdout.write((sum == Math.floor(sum) ? i64(sum).toString() : sum.toString()) + "\n");
