//! The registry's own scripts, run by the Lua that Redis has, on the data of a modelled Redis.

use std::cell::RefCell;
use std::collections::BTreeMap;

use mlua::{Function, Lua, MultiValue, Value as LuaValue, Variadic};
use redis::Value;

use super::data::Data;

thread_local! {
    static ENGINE: (Lua, RefCell<BTreeMap<String, Function>>) = (Lua::new(), RefCell::default());
}

/// Does `work` with the interpreter of this thread, which knows the scripts that were loaded.
pub fn load(name: &str, text: &str) -> Result<(), String> {
    ENGINE.with(|(lua, known)| {
        let function = lua.load(text).set_name(name).into_function().map_err(|error| error.to_string())?;
        known.borrow_mut().insert(name.to_owned(), function);
        Ok(())
    })
}

/// Runs the script `name`, all of it at one time.
pub fn run(
    data: &mut Data,
    name: &str,
    keys: &[Vec<u8>],
    arguments: &[Vec<u8>],
    now_us: u64,
) -> Result<Value, String> {
    ENGINE.with(|(lua, known)| {
        let function =
            known.borrow().get(name).cloned().ok_or("NOSCRIPT No matching script. Please use EVAL.")?;
        let list = |words: &[Vec<u8>]| -> mlua::Result<mlua::Table> {
            lua.create_sequence_from(
                words.iter().map(|word| lua.create_string(word)).collect::<mlua::Result<Vec<_>>>()?,
            )
        };
        let result = lua.scope(|scope| {
            let call = scope.create_function_mut(|lua, words: Variadic<LuaValue>| {
                let words: Vec<Vec<u8>> =
                    words.iter().map(word).collect::<Result<_, _>>().map_err(mlua::Error::external)?;
                let answer = data.call(&words, now_us).map_err(mlua::Error::external)?;
                to_lua(lua, &answer)
            })?;
            let globals = lua.globals();
            let redis = lua.create_table()?;
            redis.set("call", call)?;
            globals.set("redis", redis)?;
            globals.set("KEYS", list(keys)?)?;
            globals.set("ARGV", list(arguments)?)?;
            let answer: LuaValue = function.call(MultiValue::new())?;
            from_lua(&answer)
        });
        result.map_err(|error| format!("ERR {error}"))
    })
}

/// An argument of a command, as Redis makes it of a Lua value.
fn word(value: &LuaValue) -> Result<Vec<u8>, String> {
    match value {
        LuaValue::String(text) => Ok(text.as_bytes().to_vec()),
        LuaValue::Integer(number) => Ok(number.to_string().into_bytes()),
        LuaValue::Number(number) => Ok(format!("{number}").into_bytes()),
        other => Err(format!("ERR Lua redis lib command arguments must be strings or integers: {other:?}")),
    }
}

fn to_lua(lua: &Lua, value: &Value) -> mlua::Result<LuaValue> {
    Ok(match value {
        // Lua 5.1 has doubles only.
        #[allow(clippy::cast_precision_loss, clippy::as_conversions, reason = "as Redis does")]
        Value::Int(number) => LuaValue::Number(*number as f64),
        Value::BulkString(bytes) => LuaValue::String(lua.create_string(bytes)?),
        Value::Array(values) => {
            let values: Vec<LuaValue> =
                values.iter().map(|value| to_lua(lua, value)).collect::<Result<_, _>>()?;
            LuaValue::Table(lua.create_sequence_from(values)?)
        }
        _ => LuaValue::Boolean(false),
    })
}

fn from_lua(value: &LuaValue) -> mlua::Result<Value> {
    Ok(match value {
        LuaValue::Integer(number) => Value::Int(*number),
        #[allow(clippy::cast_possible_truncation, clippy::as_conversions, reason = "as Redis does")]
        LuaValue::Number(number) => Value::Int(*number as i64),
        LuaValue::String(text) => Value::BulkString(text.as_bytes().to_vec()),
        LuaValue::Boolean(true) => Value::Int(1),
        LuaValue::Table(table) => {
            let mut values = Vec::new();
            // Up to the first nil, which is where Redis stops.
            for value in table.sequence_values::<LuaValue>() {
                values.push(from_lua(&value?)?);
            }
            Value::Array(values)
        }
        _ => Value::Nil,
    })
}
