;; Writes to an output that it gave back.
(component
  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "get-stdout" (func $stdout (result i32)))
    (import "host" "drop-output" (func $drop (param i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (local $out i32)
      (local.set $out (call $stdout))
      (call $drop (local.get $out))
      (call $write (local.get $out) (i32.const 1024) (i32.const 4) (i32.const 16))
      (i32.const 0)))
)
