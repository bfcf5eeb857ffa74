from piecework.protocol.secrets import mask_secrets


def test_values_of_variables_that_sound_secret_are_masked_and_others_are_not():
    shown = mask_secrets(
        {"TOKEN": "a", "redis_pwd": "b", "API_KEY": "c", "MESSAGE": "hola", "AwsCredentials": "d"}
    )
    assert shown == {
        "TOKEN": "***",
        "redis_pwd": "***",
        "API_KEY": "***",
        "MESSAGE": "hola",
        "AwsCredentials": "***",
    }
