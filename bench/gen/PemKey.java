import java.io.FileInputStream;
import java.security.KeyStore;
import java.util.Base64;

/** Print a private key of a PKCS12 store as PKCS#8 PEM, which keytool itself cannot: java PemKey.java STORE ALIAS PASSWORD */
public final class PemKey {
  public static void main(String[] a) throws Exception {
    KeyStore store = KeyStore.getInstance("PKCS12");
    try (FileInputStream in = new FileInputStream(a[0])) { store.load(in, a[2].toCharArray()); }
    byte[] key = store.getKey(a[1], a[2].toCharArray()).getEncoded();
    System.out.println("-----BEGIN PRIVATE KEY-----");
    System.out.println(Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(key));
    System.out.println("-----END PRIVATE KEY-----");
  }
}
