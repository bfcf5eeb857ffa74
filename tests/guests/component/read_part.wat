;; Reads four bytes of its input, writes them, and ends without reading the rest.
(component
  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "get-stdin" (func $stdin (result i32)))
    (import "host" "get-stdout" (func $stdout (result i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (call $read (call $stdin) (i64.const 4) (i32.const 0))
      (call $write (call $stdout) (i32.load (i32.const 4)) (i32.load (i32.const 8)) (i32.const 16))
      (i32.const 0)))
)
