// Adds up the numbers in the JSON array on standard input.
const numbers = JSON.parse(std.in.readAsString());
console.log(JSON.stringify({ sum: numbers.reduce((sum, number) => sum + number, 0), count: numbers.length }));
