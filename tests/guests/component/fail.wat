;; Logs its last words and says that it failed, after some output.
(component
  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "get-stdout" (func $stdout (result i32)))
    (import "host" "get-stderr" (func $stderr (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (data (i32.const 1024) "no luck\0a")
    (func (export "run") (result i32)
      (call $write (call $stdout) (i32.const 1024) (i32.const 2) (i32.const 16))
      (call $write (call $stderr) (i32.const 1024) (i32.const 8) (i32.const 16))
      (i32.const 1)))
)
