;; Exports a function, but is no command. It stands alone.
(component
  (core module $main
    (func (export "run") (result i32) (i32.const 0)))
  (core instance $quiet (instantiate $main))
  (func $other (result (result)) (canon lift (core func $quiet "run")))
  (export "other" (func $other)))
