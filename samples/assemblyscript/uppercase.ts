// Its input in capital letters.
import { readAll } from "./input";

process.stdout.write(readAll().toUpperCase());
