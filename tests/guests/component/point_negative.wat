;; Writes bytes that lie at a place that is negative when read as signed.
(component
  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "get-stdout" (func $stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (call $write (call $stdout) (i32.const -8) (i32.const 4) (i32.const 16))
      (i32.const 0)))
)
